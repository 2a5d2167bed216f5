// The settings panel. Its widgets are Gradio's. They are read from the page as they change, at once, so that the very next
// Enter carries them; `bridge()` makes Gradio ask `values()` for all of them. Neither asks the server.

import { api } from "./api.js";
import { $, announce, phone, stored } from "./dom.js";

const WIDGETS = ["system_prompt", "temperature", "top_p", "top_k", "max_tokens", "repetition_penalty", "seed"];
const NAMES = WIDGETS.slice(1);

export class Settings {
	/** `id`: the conversation that is opened first (null: a new one). */
	constructor(id) {
		this.base = {}; // what the model, or the conversation, brings along
		this.own = {}; // what the visitor changed since
		this.defaults = {}; // of the chosen model
		this.key = id ?? "new";
		this.panel = $("p-settings");
		this.button = $("p-open-settings");
		this.panel.setAttribute("role", "dialog");
		this.panel.setAttribute("aria-label", "Settings");
		this.button.addEventListener("click", () => this.toggle(!this.isOpen));
		$("p-close-settings").addEventListener("click", () => this.toggle(false));
		this.panel.addEventListener("input", (event) => this.read(event.target));
		// Gradio brings a number back into its range when the focus leaves it; an emptied one goes back to what it was.
		this.panel.addEventListener("focusout", (event) => {
			const emptied = NAMES.filter((name) => name !== "seed" && this.own[name] === null);
			for (const name of emptied) delete this.own[name];
			setTimeout(() => (emptied.length ? this.tell() : this.read(event.target)));
		});
		$("p-own-use").addEventListener("click", () => this.useAsDefault());
		$("p-own-forget").addEventListener("click", () => this.forgetDefault());
		this.toggle(false, false);
	}

	/** The model that answers next: its defaults, and what the visitor made their own. */
	of(model) {
		this.model = model;
		this.defaults = model?.defaults ?? {};
		this.sayWhose();
	}

	sayWhose(said = null) {
		const { model } = this;
		$("p-own-use").hidden = !model;
		$("p-own-use").textContent = `Use as my default for ${model?.label}`;
		$("p-own-say").hidden = !model?.own && !said;
		$("p-own-forget").hidden = !model?.own;
		$("p-own-say").firstElementChild.textContent = said ?? `New chats with ${model?.label} begin with your own settings.`;
	}

	async useAsDefault() {
		const { model } = this;
		try {
			model.own = (await api.useAsDefault(model.name, this.params, this.systemPrompt)).default;
			this.sayWhose();
			announce($("p-own-say").firstElementChild.textContent);
		} catch (error) {
			this.sayWhose(error.message);
		}
	}

	async forgetDefault() {
		const { model } = this;
		try {
			await api.forgetDefault(model.name);
			model.own = null;
			if (this.key === "new") this.rebase(baseOf(model));
			const said = `New chats with ${model.label} begin with the model's own settings.`;
			this.sayWhose(said);
			announce(said);
			$("p-own-use").focus();
		} catch (error) {
			this.sayWhose(error.message);
		}
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

	read(field) {
		const name = WIDGETS.find((widget) => field.closest(`#p-${widget.replaceAll("_", "-")}`));
		if (!name) return;
		const value = name === "system_prompt" ? field.value : field.value === "" ? null : Number(field.value);
		if (value === (this.current[name] ?? null)) return;
		this.own[name] = value;
		stored.set("sessionStorage", `parley:settings:${this.key}`, JSON.stringify(this.own));
	}

	/** The sampling settings only: a system prompt is somebody's work. */
	reset() {
		this.own = { ...this.own, ...this.defaults };
		stored.set("sessionStorage", `parley:settings:${this.key}`, JSON.stringify(this.own));
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
		return [this.systemPrompt, ...NAMES.map((name) => this.params[name])];
	}

	tell() {
		window.parley.bridge?.();
	}
}

/** What a conversation has, or what a new one with a model begins with: the visitor's own default, else the model's. */
export function baseOf(source) {
	const { params, system_prompt } = source.params ? source : (source.own ?? {});
	return { ...(params ?? source.defaults), system_prompt: system_prompt ?? "" };
}
