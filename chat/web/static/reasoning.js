// What a reasoning model thought before it answered: folded, with the time it took, and readable while it is written. It is
// shown as it was written: a text node, no markup.

import { h } from "./dom.js";

export class Reasoning {
	constructor() {
		this.summary = h("summary", {}, h("span", { class: "pulse", "aria-hidden": "true" }), h("span", { text: "Thinking" }));
		this.text = h("div", { class: "thoughts", dir: "auto" });
		this.element = h("details", { class: "reasoning" }, this.summary, this.text);
	}

	append(text) {
		this.text.append(text);
	}

	/** It is complete: all of it, where the caller has it, and the seconds that it took. */
	end(seconds, all = null) {
		if (all !== null) this.text.textContent = all;
		this.summary.replaceChildren(h("span", { text: `Thought for ${duration(seconds)}` }));
	}
}

function duration(seconds) {
	const whole = Math.round(seconds ?? 0);
	if (whole < 1) return "a moment";
	return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} min ${whole % 60} s`;
}
