// The operator's decision about a report: one click, and the list anew.

import { request } from "chat/api.js";
import { $ } from "chat/dom.js";

for (const button of document.querySelectorAll("button[data-report]")) {
	button.addEventListener("click", async () => {
		button.disabled = true;
		try {
			await request("POST", "/api/operator/reports", { report: button.dataset.report, decision: button.dataset.decision });
			location.reload();
		} catch (error) {
			$("told").textContent = error.message;
			button.disabled = false;
		}
	});
}
