// What is done with one message of the thread: edit it, have it written anew, go on with it, step between its versions, and
// see who wrote it.

import { h, touch } from "./dom.js";
import { icon } from "./icons.js";
import { toast } from "./toast.js";

const NAMES = { temperature: "Temperature", top_p: "Top-p", top_k: "Top-k", max_tokens: "Max tokens", repetition_penalty: "Repetition penalty", seed: "Seed" };
const HELD = "Possible once the answer is written: wait for it, or press Stop.";
const CUT_OFF = ["stopped", "interrupted", "failed"];

export class Versions {
	/**
	 * `on.step(id, from)`, `on.retry(id)`, `on.goOn(id)` and `on.edit(message, text)` are called; the last resolves with a
	 * sentence where it failed. `models` knows the catalogue.
	 */
	constructor(models, on) {
		this.models = models;
		this.on = on;
	}

	/** Actions of the thread, under an answer and under a prompt. */
	get answer() {
		return [(message) => this.retry(message), (message) => this.arrows(message), (message, item) => this.who(message, item)];
	}

	get prompt() {
		return [(message, item) => this.pencil(message, item), (message) => this.arrows(message)];
	}

	/** "‹ 2/3 ›" where there is more than one version. */
	arrows({ id, siblings, role }) {
		const all = siblings ?? [];
		const at = all.indexOf(id);
		if (all.length < 2 || at < 0) return null;
		const what = role === "user" ? "message" : "answer";
		const step = (by, label, name) =>
			h("button", { class: `bare waits ${name}`, type: "button", "aria-label": `${label} version of the ${what}`, title: `${label} version`, disabled: !all[at + by], onclick: () => this.on.step(all[at + by], id) }, icon(name));
		const count = h("span", { class: "count", text: `${at + 1}/${all.length}` });
		return h("span", { class: "versions", role: "group", "aria-label": `Versions of the ${what}` }, step(-1, "Previous", "left"), count, step(1, "Next", "right"));
	}

	retry(message) {
		if (message.state === "failed") return null; // its sentence offers it
		return h("button", { class: "bare waits retry", type: "button", "aria-label": "Write the answer anew", title: "Write anew", onclick: () => this.on.retry(message.id) }, icon("retry"));
	}

	/** Under a cut-off answer: go on with it, where its model can. */
	goOn(message) {
		const cut = CUT_OFF.includes(message.state) || message.finish_reason === "length";
		if (!cut || !message.text || !this.models.get(message.model)?.continues) return null;
		return h("button", { class: "again waits", type: "button", text: "Continue", onclick: () => this.on.goOn(message.id) });
	}

	/** The name of the model; a click shows its revision and its settings. */
	who(message, item) {
		const label = this.models.label(message.model);
		const button = h("button", { class: "who", type: "button", "aria-expanded": "false", title: "How this was written", text: label });
		button.addEventListener("click", () => {
			const open = item.querySelector(".made");
			open ? open.remove() : item.querySelector(".foot").after(this.made(message));
			button.setAttribute("aria-expanded", String(!open));
		});
		return button;
	}

	made(message) {
		const params = Object.entries(message.params ?? {}).filter(([, value]) => value !== null);
		const facts = [
			["Model", message.model],
			["Revision", message.model_revision ?? "not named"],
			...params.map(([name, value]) => [NAMES[name] ?? name, String(value)]),
			["Written", new Date(message.created_at * 1000).toLocaleString()],
			...(message.continued ? [["Continued", message.continued === 1 ? "once" : `${message.continued} times`]] : []),
		];
		return h("dl", { class: "made" }, ...facts.map(([name, value]) => h("div", {}, h("dt", { text: name }), h("dd", { text: value }))));
	}

	pencil(message, item) {
		if (!message.siblings) return null; // it is on its way
		return h("button", { class: "bare edit", type: "button", "aria-label": "Edit the message", title: "Edit", onclick: () => this.edit(message, item) }, icon("pencil"));
	}

	edit(message, item) {
		if (item.querySelector("form")) return;
		const box = h("textarea", { "aria-label": "Edited message", dir: "auto", rows: 1 });
		box.value = message.text;
		const fit = () => {
			box.style.height = "auto";
			box.style.height = `${box.scrollHeight}px`;
		};
		const problem = h("p", { class: "wrong", role: "alert" });
		const send = h("button", { class: "plain strong", type: "submit", text: "Send" });
		const cancel = h("button", { class: "plain", type: "button", text: "Cancel" });
		const form = h("form", { class: "editing" }, box, problem, h("div", { class: "actions" }, h("span", { class: "hint", text: "The old version stays." }), cancel, send));
		const close = () => {
			form.remove();
			item.classList.remove("edited");
			item.querySelector(".edit")?.focus();
		};
		cancel.addEventListener("click", close);
		box.addEventListener("input", fit);
		box.addEventListener("keydown", (event) => {
			if (event.key === "Escape") {
				event.preventDefault();
				close();
			} else if (event.key === "Enter" && !event.shiftKey && !event.isComposing && event.keyCode !== 229 && !touch()) {
				event.preventDefault();
				form.requestSubmit();
			}
		});
		form.addEventListener("submit", async (event) => {
			event.preventDefault();
			if (!box.value.trim() || send.disabled) return;
			send.disabled = true;
			problem.textContent = (await this.on.edit(message, box.value)) ?? "";
			send.disabled = false;
		});
		item.classList.add("edited");
		item.append(form);
		fit();
		box.focus();
		box.setSelectionRange(box.value.length, box.value.length);
	}
}

/** Mark the buttons in `item` that wait until the answer that is being written stands: they would change what it goes on from. */
export function hold(item, held) {
	for (const button of item.querySelectorAll(".waits")) {
		if (held) button.dataset.title ??= button.title;
		button.title = held ? HELD : (button.dataset.title ?? button.title);
		held ? button.setAttribute("aria-disabled", "true") : button.removeAttribute("aria-disabled");
	}
}

/** Of a click in the thread: whether it is on a button that waits now, which then says why and does nothing else. */
export function isHeld(event) {
	if (!event.target.closest(".waits[aria-disabled]")) return false;
	event.preventDefault();
	event.stopImmediatePropagation();
	toast(HELD);
	return true;
}

/** The line in the thread above which the model did not read. */
export function readsFrom() {
	return h("li", { class: "reads-from" }, h("span", { text: "The model reads from here; what stands above did not fit." }));
}

/** A value that this page makes for one prompt, so that it never stands twice, however often it is sent. */
export function newKey() {
	return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
