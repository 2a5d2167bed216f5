// Who will read this conversation, in the line under the box: its owner, whoever that owner agreed to (the server says
// so), and the hosts that read it to answer.

import { PATIENCE_MS, request } from "./api.js";
import { $, announce } from "./dom.js";

const part = encodeURIComponent;
const ONLY_YOU = "Only you can read this conversation."; // the server's words, `privacy/web/chip.py`
const MINUTE_MS = 60_000;
const LONGEST_MS = 2 ** 31 - 1; // of a timer
const UNKNOWN = "Who can read this could not be checked just now.";

const gist = (sentence) => sentence.replace(/in \d+ \w+/g, ""); // a time that draws near is not announced

export class Readers {
	constructor() {
		this.url = $("p-readers").dataset.readers;
		this.asked = 0;
		$("p-take-back").addEventListener("click", () => this.takeBack());
		if (!this.url) return;
		// What is true now is not so for ever: rows leave when it is time, and another tab may say yes or no.
		setInterval(() => document.hidden || this.again(), MINUTE_MS);
		document.addEventListener("visibilitychange", () => document.hidden || this.again());
		// Kept, so that it is not collected. The Privacy page posts to it after each change.
		this.changes = new BroadcastChannel("parley-privacy");
		this.changes.onmessage = () => this.again();
	}

	again() {
		if (this.answering) return this.show(this.conversation, this.model, this.answering);
	}

	/** Say it for a conversation (null: a new one), the model that answers next, and the hosts that read it to answer.
	 *  `alone`: the sentence that holds where nobody else was agreed to. `temporary`: what is true of it instead. */
	async show(conversation, model, { alone, hosts }, temporary = null) {
		if (temporary) {
			this.asked++;
			this.answering = null;
			$("p-readers").classList.remove("others");
			$("p-take-back").hidden = true;
			$("p-readers-say").textContent = [temporary, hosts.length ? `${hosts.join(" and ")} reads it, to answer.` : ""].join(" ").trim();
			return;
		}
		this.conversation = conversation;
		this.model = model;
		this.answering = { alone, hosts };
		if (!this.url) {
			$("p-readers-say").textContent = alone;
			return;
		}
		const mine = ++this.asked;
		const of = conversation ? `conversation=${part(conversation)}&` : "";
		try {
			const answer = await request("GET", `${this.url}?${of}model=${part(model ?? "")}`, undefined, { patience: PATIENCE_MS });
			const found = await answer.json();
			if (mine === this.asked) this.draw(found);
		} catch {
			// A sentence that may no longer be true is worse than none.
			if (mine === this.asked) this.draw({ sentence: UNKNOWN, who: [], when: null, can_take_back: false });
		}
	}

	draw({ sentence: agreed, who, when, can_take_back }) {
		const { alone, hosts } = this.answering;
		const also = hosts.length ? ` ${hosts.join(" and ")} reads it too, to answer.` : "";
		const sentence = agreed === ONLY_YOU ? alone : agreed + also;
		const said = $("p-readers-say");
		const changed = gist(said.textContent) !== gist(sentence);
		clearTimeout(this.timer);
		const left = when ? when * 1000 - Date.now() : 0;
		if (left > 0) this.timer = setTimeout(() => this.again(), Math.min(left + 1000, LONGEST_MS));
		const of = this.conversation ? `?conversation=${part(this.conversation)}` : "";
		const link = document.createElement("a");
		link.href = `/privacy${of}`;
		link.textContent = sentence;
		if (when) link.title = new Date(when * 1000).toLocaleString();
		said.replaceChildren(link);
		$("p-readers").classList.toggle("others", who.length > 0);
		$("p-take-back").hidden = !can_take_back;
		if (changed && who.length) announce(sentence);
	}

	async takeBack() {
		$("p-take-back").disabled = true;
		try {
			await request("POST", this.url.replace(/chip$/, "conversation"), { id: this.conversation, choice: "private" }, { patience: PATIENCE_MS });
		} catch (error) {
			announce(error.message);
		}
		$("p-take-back").disabled = false;
		this.changes.postMessage("changed");
		await this.again();
	}
}
