// Where the open conversation is: a small mark by its title, with the words on hover or tap. Never more than is true: what
// was sent counts as kept here until the server says otherwise.

import { $ } from "./dom.js";

const WORDS = {
	"kept here": "Kept here: on the disk of this server, and nowhere else yet.",
	safe: "Safe: a copy is in private storage elsewhere, should this server be lost.",
	saved: "Saved: in the private dataset.",
};
const LOOKS_MS = [2500, 5000, 10_000, 30_000, 60_000]; // after something was sent; then whenever the list is read

export class Kept {
	/** `look()` reads the list again, and gives what it says to `show`. */
	constructor(look) {
		this.look = look;
		this.mark = $("p-kept");
	}

	show(conversation) {
		const { id = null, where = null, updated_at = 0 } = conversation ?? {};
		this.mark.hidden = !WORDS[where];
		this.mark.dataset.where = where;
		this.mark.title = WORDS[where] ?? "";
		this.mark.setAttribute("aria-label", this.mark.title);
		$("p-kept-words").textContent = this.mark.title;
		const waits = WORDS[where] && where !== "saved" ? `${id} ${updated_at} ${where}` : null;
		if (!waits) clearTimeout(this.timer);
		else if (waits !== this.watched) this.watch(0);
		this.watched = waits;
	}

	watch(number) {
		clearTimeout(this.timer);
		if (number >= LOOKS_MS.length) return;
		this.timer = setTimeout(() => {
			if (!document.hidden) this.look();
			this.watch(number + 1);
		}, LOOKS_MS[number]);
	}
}
