// What was deleted lately: here, and then from the backup. Without a word of it.

import { request } from "./api.js";
import { $, h } from "./dom.js";
import { language, speaker } from "./spoken.js";

// `fragile`: nothing but this server's disk knows of it yet, so where that is lost just now, it is undone.
const t = speaker({
	en: {
		label: "Deleted lately",
		fragile: {
			one: "A conversation, deleted here {here}; no other copy knows of that yet, so it would come back if this server were lost now.",
			other: "{count} conversations, deleted here {here}; no other copy knows of that yet, so they would come back if this server were lost now.",
		},
		leaving: {
			one: "A conversation, deleted here {here}, being deleted from the backup and its history.",
			other: "{count} conversations, deleted here {here}, being deleted from the backup and its history.",
		},
		gone: {
			one: "A conversation, deleted here {here}, deleted from the backup {backup}.",
			other: "{count} conversations, deleted here {here}, deleted from the backup {backup}.",
		},
	},
	fr: {
		label: "Supprimées récemment",
		fragile: {
			one: "Une conversation, supprimée ici ({here}) ; aucune autre copie ne le sait encore : elle reviendrait si ce serveur était perdu maintenant.",
			other: "{count} conversations, supprimées ici ({here}) ; aucune autre copie ne le sait encore : elles reviendraient si ce serveur était perdu maintenant.",
		},
		leaving: {
			one: "Une conversation, supprimée ici ({here}), en cours de suppression dans la sauvegarde et son historique.",
			other: "{count} conversations, supprimées ici ({here}), en cours de suppression dans la sauvegarde et son historique.",
		},
		gone: {
			one: "Une conversation, supprimée ici ({here}), supprimée de la sauvegarde ({backup}).",
			other: "{count} conversations, supprimées ici ({here}), supprimées de la sauvegarde ({backup}).",
		},
	},
	pl: {
		label: "Ostatnio usunięte",
		fragile: {
			one: "Rozmowa usunięta tutaj ({here}); żadna inna kopia jeszcze o tym nie wie, więc wróciłaby, gdyby ten serwer teraz przepadł.",
			few: "{count} rozmowy usunięte tutaj ({here}); żadna inna kopia jeszcze o tym nie wie, więc wróciłyby, gdyby ten serwer teraz przepadł.",
			other: "{count} rozmów usuniętych tutaj ({here}); żadna inna kopia jeszcze o tym nie wie, więc wróciłyby, gdyby ten serwer teraz przepadł.",
		},
		leaving: {
			one: "Rozmowa usunięta tutaj ({here}), usuwana z kopii zapasowej i jej historii.",
			few: "{count} rozmowy usunięte tutaj ({here}), usuwane z kopii zapasowej i jej historii.",
			other: "{count} rozmów usuniętych tutaj ({here}), usuwanych z kopii zapasowej i jej historii.",
		},
		gone: {
			one: "Rozmowa usunięta tutaj ({here}), usunięta z kopii zapasowej ({backup}).",
			few: "{count} rozmowy usunięte tutaj ({here}), usunięte z kopii zapasowej ({backup}).",
			other: "{count} rozmów usuniętych tutaj ({here}), usuniętych z kopii zapasowej ({backup}).",
		},
	},
});

const SOON_MS = 5000; // while something is not purged yet
const DAY_MS = 86_400_000;
const list = h("ol", { id: "deletions", "aria-label": t("label"), "aria-live": "polite" });
let again = null;

const time = (seconds) => {
	const at = new Date(seconds * 1000);
	const clock = at.toLocaleTimeString(language, { hour: "2-digit", minute: "2-digit" });
	return Date.now() - at < DAY_MS ? clock : `${at.toLocaleDateString(language)} ${clock}`;
};

function sentence({ conversations, deleted_at, purged_at, survives }) {
	const state = purged_at !== null ? "gone" : survives ? "leaving" : "fragile";
	return t(state, { here: time(deleted_at), backup: time(purged_at) }, conversations);
}

export async function showDeletions() {
	clearTimeout(again);
	try {
		const { items } = await (await request("GET", "/api/deletions")).json();
		list.hidden = !items.length;
		list.replaceChildren(...items.map((item) => h("li", {}, sentence(item))));
		if (items.some((item) => item.purged_at === null)) again = setTimeout(showDeletions, SOON_MS);
	} catch {} // the rest of the page says what is wrong
}

$("delete-all").closest("p").after(list);
document.addEventListener("parley:deleted", showDeletions);
showDeletions();
