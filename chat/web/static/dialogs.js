// Native dialogs: the browser keeps the focus inside, closes on Escape and gives the focus back.

import { $, h } from "./dom.js";

/** A click beside the dialog, or on a button with `data-close`, closes it. */
export function closable(dialog) {
	dialog.addEventListener("click", (event) => {
		if (event.target === dialog || event.target.closest("[data-close]")) dialog.close();
	});
}

/** Ask before something that cannot be undone; true when it was confirmed. */
export function confirmed(question, detail, action) {
	const dialog = $("p-confirm");
	return new Promise((resolve) => {
		const yes = h("button", { class: "plain danger", type: "button", text: action });
		const no = h("button", { class: "plain", type: "button", text: "Cancel", autofocus: true });
		yes.addEventListener("click", () => dialog.close("yes"));
		no.addEventListener("click", () => dialog.close("no"));
		dialog.replaceChildren(
			h("h2", { id: "p-confirm-title", text: question }),
			h("p", { text: detail }),
			h("div", { class: "actions" }, no, yes),
		);
		dialog.returnValue = "no";
		dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
		dialog.showModal();
		no.focus();
	});
}
