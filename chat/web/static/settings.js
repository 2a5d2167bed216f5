// The settings panel. Its widgets are Gradio's; two events connect them with this module, without a round trip:
// a widget calls `changed(name, value)`, and `bridge()` makes Gradio ask `values()` for all of them.

import { $, phone, stored } from "./dom.js";

export const NAMES = ["temperature", "top_p", "top_k", "max_tokens", "repetition_penalty", "seed"];

export class Settings {
	constructor() {
		this.base = {}; // what the model, or the conversation, brings along
		this.own = {}; // what the visitor changed since
		this.key = "new";
		this.panel = $("p-settings");
		this.button = $("p-open-settings");
		this.panel.setAttribute("role", "dialog");
		this.panel.setAttribute("aria-label", "Settings");
		this.button.addEventListener("click", () => this.toggle(!this.isOpen));
		$("p-close-settings").addEventListener("click", () => this.toggle(false));
		this.toggle(false, false);
	}

	get isOpen() {
		return document.body.classList.contains("p-settings-open");
	}

	toggle(open, focus = true) {
		document.body.classList.toggle("p-settings-open", open);
		this.button.setAttribute("aria-expanded", String(open));
		this.panel.inert = !open;
		$("p-main").inert = open && phone();
		if (focus) (open ? $("p-close-settings") : this.button).focus();
	}

	/** Show the settings of a conversation, or a model's defaults for a new one; unsent changes in this tab win. */
	open(key, base) {
		this.key = key ?? "new";
		this.base = base;
		try {
			this.own = JSON.parse(stored.get("sessionStorage", `parley:settings:${this.key}`)) ?? {};
		} catch {
			this.own = {};
		}
		this.tell();
	}

	/** A new conversation takes the defaults of the model it is begun with, but for what the visitor changed. */
	rebase(base) {
		this.base = base;
		this.tell();
	}

	/** The turn carried the changes to the server: they are the conversation's own now. */
	sent(key, conversation) {
		stored.set("sessionStorage", `parley:settings:${this.key}`, null);
		if (this.key !== "new" && this.key !== key) return;
		this.key = key;
		this.base = baseOf(conversation);
		this.own = {};
	}

	changed(name, value) {
		this.own[name] = value;
		stored.set("sessionStorage", `parley:settings:${this.key}`, JSON.stringify(this.own));
	}

	reset() {
		this.own = {};
		stored.set("sessionStorage", `parley:settings:${this.key}`, null);
		this.tell();
	}

	get current() {
		return { ...this.base, ...this.own };
	}

	get systemPrompt() {
		return this.current.system_prompt ?? "";
	}

	/** Complete values only: a field that was emptied goes back to what it was. */
	get params() {
		const all = this.current;
		return Object.fromEntries(NAMES.map((name) => [name, all[name] ?? (name === "seed" ? null : this.base[name])]));
	}

	values() {
		return [this.systemPrompt, ...NAMES.map((name) => this.params[name] ?? null)];
	}

	tell() {
		window.parley.bridge?.();
	}
}

export const baseOf = (source) => ({ ...(source.params ?? source.defaults), system_prompt: source.system_prompt ?? "" });
