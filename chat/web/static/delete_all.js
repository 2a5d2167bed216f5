// "Delete all conversations": asked once, then done, with a way back for some seconds.

import { api } from "./api.js";
import { $ } from "./dom.js";
import { offerUndo } from "./keeping.js";

const NOTHING =
	"No conversations are kept for this browser. One that ends with its tab cannot be seen from another tab: delete it " +
	"there, with the bin in the list.";
const button = $("delete-all");
const told = $("deleted");
let sure = false;

button.addEventListener("click", async () => {
	if (!sure) {
		sure = true;
		button.textContent = "Yes, delete all of them";
		return;
	}
	button.disabled = true;
	try {
		const { deleted, undo } = await api.removeAll();
		told.textContent = deleted === 0 ? NOTHING : deleted === 1 ? "1 conversation was deleted." : `${deleted} conversations were deleted.`;
		button.hidden = true;
		offerUndo(undo, told, () => {
			document.dispatchEvent(new Event("parley:deleted"));
			sure = button.hidden = button.disabled = false;
			button.textContent = "Delete all conversations";
		});
		document.dispatchEvent(new Event("parley:deleted"));
	} catch (error) {
		told.textContent = error.message;
		button.disabled = false;
	}
});

// Whoever comes from a page without cookies is told before they ask.
try {
	if (!(await api.conversations()).items.length) told.textContent = NOTHING;
} catch {} // the button says what is wrong
