// "Delete all conversations": asked once, then done, with a way back for some seconds.

import { api } from "./api.js";
import { $ } from "./dom.js";
import { offerUndo } from "./keeping.js";
import { speaker, whyNot } from "./spoken.js";

const t = speaker({
	en: {
		sure: "Yes, delete all of them",
		deleted: { one: "1 conversation was deleted.", other: "{count} conversations were deleted." },
		nothing: "No conversations are kept for this browser. One that ends with its tab cannot be seen from another tab: delete it there, with the bin in the list.",
	},
	fr: {
		sure: "Oui, les supprimer toutes",
		deleted: { one: "1 conversation a été supprimée.", other: "{count} conversations ont été supprimées." },
		nothing: "Aucune conversation n'est conservée pour ce navigateur. Celle qui se termine avec son onglet ne se voit pas depuis un autre onglet : supprimez-la là-bas, avec la corbeille de la liste.",
	},
	pl: {
		sure: "Tak, usuń wszystkie",
		deleted: { one: "Usunięto 1 rozmowę.", few: "Usunięto {count} rozmowy.", other: "Usunięto {count} rozmów." },
		nothing: "Dla tej przeglądarki nie są przechowywane żadne rozmowy. Rozmowy, która kończy się wraz z kartą, nie widać z innej karty: usuń ją tam, koszem na liście.",
	},
});
const button = $("delete-all");
const label = button.textContent;
const told = $("deleted");
let sure = false;

button.addEventListener("click", async () => {
	if (!sure) {
		sure = true;
		button.textContent = t("sure");
		return;
	}
	button.disabled = true;
	try {
		const { deleted, undo } = await api.removeAll();
		told.textContent = deleted === 0 ? t("nothing") : t("deleted", {}, deleted);
		button.hidden = true;
		offerUndo(undo, told, () => {
			document.dispatchEvent(new Event("parley:deleted"));
			sure = button.hidden = button.disabled = false;
			button.textContent = label;
		});
		document.dispatchEvent(new Event("parley:deleted"));
	} catch (error) {
		told.textContent = whyNot(error);
		button.disabled = false;
	}
});

// Whoever comes from a page without cookies is told before they ask.
try {
	if (!(await api.conversations()).items.length) told.textContent = t("nothing");
} catch {} // the button says what is wrong
