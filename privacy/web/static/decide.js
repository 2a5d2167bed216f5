// The operator's decision: one click, and what waits anew.

import { request } from "chat/api.js";
import { $ } from "chat/dom.js";

for (const button of document.querySelectorAll("button[data-route]")) {
	button.addEventListener("click", async () => {
		button.disabled = true;
		try {
			await request("POST", `/api/operator/${button.dataset.route}`, JSON.parse(button.dataset.body));
			location.reload();
		} catch (error) {
			$("told").textContent = error.message;
			button.disabled = false;
		}
	});
}
