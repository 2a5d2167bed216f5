// The line above the box: what the chosen model's engine is doing, until it is ready.

import { api } from "./api.js";
import { $ } from "./dom.js";

const LOOK_MS = 2000;

export class Engine {
	constructor() {
		this.line = $("p-engine");
		this.looks = 0; // so that of two that look at the same time the earlier one ends
	}

	/** Watch the engine of `model`; `answering()`: whether an answer runs, which says the same in its own place. */
	async watch(model, answering) {
		const mine = ++this.looks;
		clearTimeout(this.timer);
		if (!model) return;
		let [stage, detail] = ["unknown", ""];
		try {
			({ stage, detail } = await api.status(model.name));
		} catch (error) {
			detail = error.message; // asked again below
		}
		if (mine !== this.looks) return;
		const ready = stage === "ready";
		this.line.textContent = ready ? "" : detail;
		this.line.dataset.stage = stage;
		this.line.hidden = ready || !detail || answering();
		if (!ready) this.timer = setTimeout(() => this.watch(model, answering), document.hidden ? 5 * LOOK_MS : LOOK_MS);
	}

	hide() {
		this.line.hidden = true;
	}
}
