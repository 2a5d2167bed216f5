// What was deleted lately: here, and then from the backup. Without a word of it.

import { request } from "./api.js";
import { $, h } from "./dom.js";

const SOON_MS = 5000; // while something is not purged yet
const DAY_MS = 86_400_000;
const list = h("ol", { id: "deletions", "aria-label": "Deleted lately", "aria-live": "polite" });
let again = null;

const time = (seconds) => {
	const at = new Date(seconds * 1000);
	const clock = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
	return Date.now() - at < DAY_MS ? clock : `${at.toLocaleDateString()} ${clock}`;
};

const sentence = ({ conversations, deleted_at, purged_at }) =>
	`${conversations === 1 ? "A conversation" : `${conversations} conversations`}, deleted here ${time(deleted_at)}, ` +
	(purged_at === null ? "being deleted from the backup and its history." : `deleted from the backup ${time(purged_at)}.`);

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
