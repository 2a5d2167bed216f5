// The box you type in. What was typed survives a reload and every failure: it leaves the box for good only when the
// server has it.

import { $, stored, touch } from "./dom.js";
import { icon } from "./icons.js";
import { newKey } from "./versions.js";

export class Composer {
	constructor(on) {
		this.on = on;
		this.box = $("p-prompt");
		this.button = $("p-send");
		this.key = "new";
		this.mode = "";
		this.box.addEventListener("input", () => this.changed());
		this.box.addEventListener("keydown", (event) => this.pressed(event));
		this.button.addEventListener("click", () => this.act());
		this.set("send");
		this.open(null);
	}

	/** Show the draft of a conversation (null: a new one). */
	open(id) {
		this.key = id ?? "new";
		this.write(stored.get("sessionStorage", `parley:draft:${this.key}`) ?? "");
		this.problem(null);
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
		const text = this.text;
		this.box.value = "";
		this.fit();
		this.set("busy");
		return { text, key: this.key };
	}

	/** The server has the text; the box belongs to conversation `id` from now on, with what was typed since. */
	sent({ key }, id) {
		const here = key === this.key;
		stored.set("sessionStorage", `parley:draft:${key}`, null);
		stored.set("sessionStorage", `parley:sending:${key}`, null);
		this.sending = null;
		if (!here) return;
		this.key = id;
		stored.set("sessionStorage", `parley:draft:${id}`, this.text);
	}

	/** A failed send: the text returns to the box it came from, unless something else was typed there meanwhile. */
	giveBack({ text, key }, sentence) {
		if (key === this.key) {
			this.write(this.text ? `${text}\n${this.text}` : text);
			this.problem(sentence);
			this.box.focus();
		}
	}

	problem(sentence) {
		$("p-problem").textContent = sentence ?? "";
		$("p-problem").hidden = !sentence;
	}

	changed() {
		stored.set("sessionStorage", `parley:draft:${this.key}`, this.text);
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
