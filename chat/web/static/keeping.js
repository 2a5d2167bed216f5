// How long conversations are kept, and the way back from deleting all of them: on any plain page that has the button
// "delete-all". Below its paragraph, or in an element "keeping" where there is one.

import { api } from "./api.js";
import { $, h } from "./dom.js";
import { language, speaker, whyNot } from "./spoken.js";

const t = speaker({
	en: {
		heading: "How long they are kept",
		ever: "Your conversations stay until you delete them.",
		operator: "Whoever runs this server has conversations deleted {days} after their last message.",
		chosen: "Your conversations are deleted {days} after their last message, as you chose.",
		also: "Pinned and archived ones too; what was shared of them is taken back.",
		label: "Delete mine",
		never: "when I delete them",
		asAll: "as everybody's",
		after: "{days} after the last message",
		sure: "What is older than that is deleted at once and cannot be brought back. This page lists when it has left the backup too.",
		yes: "Yes, delete after {days}",
		undo: "Undo",
		back: "They are back.",
	},
	fr: {
		heading: "Combien de temps elles sont conservées",
		ever: "Vos conversations restent jusqu'à ce que vous les supprimiez.",
		operator: "Qui gère ce serveur fait supprimer les conversations {days} après leur dernier message.",
		chosen: "Vos conversations sont supprimées {days} après leur dernier message, comme vous l'avez choisi.",
		also: "Celles qui sont épinglées ou archivées aussi ; ce qui en a été partagé est retiré.",
		label: "Supprimer les miennes",
		never: "quand je les supprime",
		asAll: "comme celles de tous",
		after: "{days} après le dernier message",
		sure: "Ce qui est plus ancien est supprimé aussitôt et ne peut pas être rétabli. Cette page indique quand cela a quitté la sauvegarde aussi.",
		yes: "Oui, supprimer après {days}",
		undo: "Annuler",
		back: "Elles sont de retour.",
	},
	pl: {
		heading: "Jak długo są przechowywane",
		ever: "Twoje rozmowy zostają, dopóki ich nie usuniesz.",
		operator: "Kto prowadzi ten serwer, każe usuwać rozmowy {days} po ostatniej wiadomości.",
		chosen: "Twoje rozmowy są usuwane {days} po ostatniej wiadomości, jak wybrano.",
		also: "Także przypięte i zarchiwizowane; to, co z nich udostępniono, jest wycofywane.",
		label: "Usuwaj moje",
		never: "kiedy je usunę",
		asAll: "jak wszystkich",
		after: "{days} po ostatniej wiadomości",
		sure: "To, co starsze, jest usuwane od razu i nie da się tego przywrócić. Ta strona podaje, kiedy zniknęło też z kopii zapasowej.",
		yes: "Tak, usuwaj {days} po ostatniej wiadomości",
		undo: "Cofnij",
		back: "Są z powrotem.",
	},
});

const inDays = (count) => new Intl.NumberFormat(language, { style: "unit", unit: "day", unitDisplay: "long" }).format(count);

/** Show, in `place`, a button that takes a deletion back while that can be done; `restored()` is called when it was. */
export function offerUndo(undo, place, restored = () => {}) {
	if (!undo) return;
	const button = h("button", { id: "undo", type: "button", text: t("undo") });
	const over = setTimeout(() => button.remove(), Math.max(1, undo.seconds - 0.5) * 1000);
	button.addEventListener("click", async () => {
		clearTimeout(over);
		try {
			await api.undo(undo.id);
			place.textContent = t("back");
			restored();
		} catch (error) {
			place.textContent = whyNot(error);
		}
	});
	place.append(" ", button);
}

function draw(section, kept) {
	const says = kept.days === null ? t("ever") : t(kept.days === kept.operator ? "operator" : "chosen", { days: inDays(kept.days) });
	const select = h("select", { id: "keeping-days" });
	select.append(new Option(t(kept.operator === null ? "never" : "asAll"), ""));
	const choices = kept.chosen && !kept.choices.includes(kept.chosen) ? [...kept.choices, kept.chosen] : kept.choices;
	for (const days of choices) select.append(new Option(t("after", { days: inDays(days) }), days));
	select.value = kept.chosen ?? "";
	const told = h("p", { id: "keeping-told", role: "status" });
	select.addEventListener("change", () => {
		const days = select.value ? Number(select.value) : null;
		told.replaceChildren();
		if (days === null || (kept.days !== null && days >= kept.days)) return choose(section, days, told);
		const yes = h("button", { type: "button", class: "danger", text: t("yes", { days: inDays(days) }), onclick: () => choose(section, days, told) });
		told.append(t("sure"), " ", yes);
	});
	const also = kept.days === null ? null : h("span", { text: ` ${t("also")}` });
	section.replaceChildren(
		h("h2", { text: t("heading") }),
		h("p", { id: "keeping-says" }, says, also),
		h("p", {}, h("label", { for: "keeping-days", text: `${t("label")} ` }), select),
		told,
	);
}

async function choose(section, days, told) {
	try {
		draw(section, await api.keepFor(days));
	} catch (error) {
		told.textContent = whyNot(error);
	}
}

if ($("delete-all")) {
	const section = $("keeping") ?? h("section", { id: "keeping" });
	if (!section.isConnected) $("deleted").closest("p").after(section);
	// Not awaited: the button of whoever imports this must work before the answer is there.
	api.retention().then(
		(kept) => draw(section, kept),
		() => {}, // the rest of the page says what is wrong
	);
}
