// The box you type in. What was typed survives a reload and every failure: it leaves the box for good only when the
// server has it.

import { $, stored, touch } from "./dom.js";
import { icon } from "./icons.js";
import { newKey } from "./versions.js";

export class Composer {
	/** `id`: the conversation that is opened first (null: a new one). `on.send()`, `on.stop()` and `on.mode(mode)`, see `set`,
	 *  are called. */
	constructor(on, id) {
		this.on = on;
		this.box = $("p-prompt");
		this.button = $("p-send");
		this.mode = "";
		this.opened = 0; // counts openings
		this.away = new Set(); // keys of drafts that are on their way to the server
		const typed = this.box.value; // before this was here
		this.box.addEventListener("input", () => this.changed());
		this.box.addEventListener("keydown", (event) => this.pressed(event));
		this.button.addEventListener("click", () => this.act());
		this.set("send");
		this.open(id);
		this.write(joined(this.text, typed));
	}

	/** Show the draft of a conversation (null: a new one). Where its box is shown already, what stands there stays. */
	open(id) {
		this.problem(null);
		this.opened++;
		const key = id ?? "new";
		if (key === this.key) return;
		this.key = key;
		this.write(this.away.has(key) ? "" : this.draft(key));
	}

	draft(key) {
		return stored.get("sessionStorage", `parley:draft:${key}`) ?? "";
	}

	keep(key, text) {
		stored.set("sessionStorage", `parley:draft:${key}`, text);
	}

	get text() {
		return this.box.value;
	}

	write(text) {
		this.box.value = text;
		this.changed();
	}

	/** The key of a prompt: the same for the same text until the server has it, so that it never stands twice. */
	keyOf(text) {
		const name = `parley:sending:${this.key}`;
		let sending = this.sending?.name === name ? this.sending : null;
		try {
			sending ??= JSON.parse(stored.get("sessionStorage", name));
		} catch {}
		if (sending?.text !== text) sending = { text, key: newKey() };
		this.sending = { ...sending, name };
		stored.set("sessionStorage", name, JSON.stringify(sending));
		return sending.key;
	}

	/** Empty the box while the draft stays stored, until `sent` or `giveBack`. */
	take() {
		const { text, key, opened } = this;
		this.box.value = "";
		this.fit();
		this.set("busy");
		this.away.add(key);
		return { text, key, opened };
	}

	/** The server has the text; a box that is still the same belongs to conversation `id` from now on, with what was typed since. */
	sent({ text, key, opened }, id) {
		const here = opened === this.opened;
		this.away.delete(key);
		if (here || this.draft(key) === text) this.keep(key, null);
		if (this.sending?.text === text) {
			stored.set("sessionStorage", this.sending.name, null);
			this.sending = null;
		}
		if (!here) return;
		this.key = id;
		this.keep(id, this.text);
	}

	/** A failed send: the text returns to the box it came from, before what was typed there meanwhile. */
	giveBack({ text, key }, sentence) {
		this.away.delete(key);
		if (key !== this.key) return this.keep(key, joined(text, this.draft(key)));
		this.write(joined(text, this.text));
		this.problem(sentence);
		this.box.focus();
	}

	problem(sentence) {
		$("p-problem").textContent = sentence ?? "";
		$("p-problem").hidden = !sentence;
	}

	changed() {
		this.keep(this.key, this.text);
		this.fit();
		this.set(this.mode);
	}

	fit() {
		this.box.style.height = "auto";
		this.box.style.height = `${this.box.scrollHeight}px`;
	}

	/** "send", "busy" (the turn is on its way) or "stop" (an answer runs). */
	set(mode) {
		const stop = mode === "stop";
		if (mode !== this.mode) {
			this.button.replaceChildren(icon(stop ? "stop" : "up"));
			this.button.setAttribute("aria-label", stop ? "Stop" : "Send");
			this.button.title = touch() ? (stop ? "Stop" : "Send") : stop ? "Stop (Esc)" : "Send (Enter)";
			this.button.classList.toggle("stop", stop);
		}
		this.mode = mode;
		this.on.mode?.(mode);
		this.button.disabled = mode === "busy" || (mode === "send" && !this.text.trim());
	}

	pressed(event) {
		// Enter that ends the composition of a character (Japanese, Chinese, …) belongs to the input method.
		if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229 || touch()) return;
		event.preventDefault();
		if (this.mode === "send" && this.text.trim()) this.on.send();
	}

	act() {
		if (this.mode === "stop") this.on.stop();
		else if (this.mode === "send" && this.text.trim()) this.on.send();
	}
}

/** One text after the other; the same one once. */
function joined(text, more) {
	return text === more ? text : [text, more].filter(Boolean).join("\n");
}
