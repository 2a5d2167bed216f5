// "Delete all conversations": asked once, then done.

import { api } from "./api.js";
import { $ } from "./dom.js";

const button = $("delete-all");
const told = $("deleted");
let sure = false;

button.addEventListener("click", async () => {
	if (!sure) {
		sure = true;
		button.textContent = "Yes, delete all of them for good";
		return;
	}
	button.disabled = true;
	try {
		const { deleted } = await api.removeAll();
		told.textContent = deleted === 1 ? "1 conversation was deleted." : `${deleted} conversations were deleted.`;
		button.hidden = true;
	} catch (error) {
		told.textContent = error.message;
		button.disabled = false;
	}
});
