// What the plain pages' own modules say, in the language of the page: from tables of texts, one per language, with the
// plural forms of CLDR where a number decides.

const asked = document.documentElement.lang;
export const language = ["en", "fr", "pl"].includes(asked) ? asked : "en";
const plural = new Intl.PluralRules(language);

/** The function that speaks from `texts`: a sentence by its name, with `values` in it; `count` decides its form. */
export const speaker =
	(texts) =>
	(name, values = {}, count = 0) => {
		const found = texts[language][name];
		const text = typeof found === "string" ? found : (found[plural.select(count)] ?? found.other);
		return text.replace(/\{(\w+)\}/g, (_, key) => (key === "count" ? count : values[key]));
	};

const t = speaker({
	en: {
		offline: "The server cannot be reached. Check your connection and try again.",
		not_found: "It is too late: what was deleted is gone for good.",
		not_restored: "Not all of your conversations have been brought back here yet, so nothing was deleted: the others would come back later. Try again in a few minutes, or delete single ones now.",
		other: "The server answered with an error ({status}). Try again in a moment.",
	},
	fr: {
		offline: "Le serveur ne répond pas. Vérifiez votre connexion et réessayez.",
		not_found: "C'est trop tard : ce qui a été supprimé l'est définitivement.",
		not_restored: "Vos conversations n'ont pas encore toutes été rétablies ici, donc rien n'a été supprimé : les autres reviendraient plus tard. Réessayez dans quelques minutes, ou supprimez-les une à une maintenant.",
		other: "Le serveur a répondu par une erreur ({status}). Réessayez dans un instant.",
	},
	pl: {
		offline: "Serwer nie odpowiada. Sprawdź połączenie i spróbuj ponownie.",
		not_found: "Za późno: to, co usunięto, przepadło na dobre.",
		not_restored: "Nie wszystkie Twoje rozmowy zostały już tu przywrócone, więc nic nie usunięto: pozostałe wróciłyby później. Spróbuj ponownie za kilka minut albo usuń teraz pojedyncze rozmowy.",
		other: "Serwer odpowiedział błędem ({status}). Spróbuj ponownie za chwilę.",
	},
});

/** Why deleting, bringing back or choosing did not work. The server itself speaks English. */
export function whyNot({ code, message, status }) {
	if (["offline", "not_found", "not_restored"].includes(code)) return t(code);
	return language === "en" ? message : t("other", { status });
}
