// Thumbs under an answer, and the form in which the visitor says more. What was said goes where the answer goes, and can be changed.

import { api } from "./api.js";
import { $, announce, h } from "./dom.js";
import { icon } from "./icons.js";

const THUMBS = { up: "Good answer", down: "Bad answer" };
const ASKED = { up: "What was good?", down: "What went wrong?" };

export class Feedback {
	/** `problem(sentence)` is called with what failed. */
	constructor(problem) {
		this.problem = problem;
		this.given = new Map(); // by answer: what was said since the page was opened; null: taken back
	}

	/** An action of the thread: the two thumbs of a settled answer. */
	action(message, item) {
		if (message.state === "failed" || !message.text) return null;
		const said = this.given.has(message.id) ? this.given.get(message.id) : (message.feedback ?? null);
		const thumbs = Object.entries(THUMBS).map(([rating, label]) =>
			h("button", { class: "bare thumb", type: "button", "data-rating": rating, "aria-label": label, title: label, onclick: () => this.rate(message.id, item, rating) }, icon(`thumb-${rating}`)),
		);
		const group = h("span", { class: "thumbs", role: "group", "aria-label": "Rate the answer" }, ...thumbs);
		this.given.set(message.id, said);
		this.mark(group, said);
		return group;
	}

	mark(group, said) {
		for (const thumb of group.children) thumb.setAttribute("aria-pressed", String(thumb.dataset.rating === said?.rating));
	}

	/** The thumb counts at once; the reasons are of one thumb, so changing it drops them. */
	async rate(id, item, rating) {
		const said = this.given.get(id);
		if (said?.rating === rating) return item.querySelector(".feedback") ? this.close(item) : this.open(id, item);
		if (await this.keep(id, item, { rating, reasons: [], comment: said?.comment ?? "" })) this.open(id, item);
	}

	async keep(id, item, said) {
		try {
			const { feedback } = await (said ? api.rate(id, said) : api.unrate(id));
			this.given.set(id, feedback);
			this.mark(item.querySelector(".thumbs"), feedback);
			announce(feedback ? "Your rating is kept." : "Your rating was removed.");
			this.problem(null);
			return true;
		} catch (error) {
			this.problem(error.message);
			return false;
		}
	}

	open(id, item) {
		item.querySelector(".feedback")?.remove();
		const said = this.given.get(id);
		const form = h("div", { class: "feedback", role: "form", "aria-label": ASKED[said.rating] }, h("p", { class: "asked", text: ASKED[said.rating] }));
		form.append($("p-feedback-form").content.cloneNode(true));
		form.querySelector(`.reasons:not([data-rating="${said.rating}"])`).remove();
		for (const reason of form.querySelectorAll(".reason")) {
			reason.setAttribute("aria-pressed", String(said.reasons.includes(reason.dataset.reason)));
			reason.addEventListener("click", () => reason.setAttribute("aria-pressed", String(reason.getAttribute("aria-pressed") !== "true")));
		}
		const comment = form.querySelector("textarea");
		comment.value = said.comment;
		const keep = async (what) => (await this.keep(id, item, what)) && this.close(item);
		const picked = () => [...form.querySelectorAll('.reason[aria-pressed="true"]')].map((reason) => reason.dataset.reason);
		const save = () => keep({ rating: said.rating, reasons: picked(), comment: comment.value });
		form.append(
			h(
				"div",
				{ class: "row" },
				h("span", { class: "hint", text: "Only you see this." }),
				h("button", { type: "button", class: "plain", text: "Remove rating", onclick: () => keep(null) }),
				h("button", { type: "button", class: "plain strong", text: "Save", onclick: save }),
			),
		);
		form.addEventListener("keydown", (event) => {
			if (event.key !== "Escape") return;
			event.preventDefault();
			this.close(item);
		});
		item.append(form);
		form.querySelector(".reason").focus({ preventScroll: true });
		form.scrollIntoView({ block: "nearest" });
	}

	close(item) {
		item.querySelector(".feedback")?.remove();
		(item.querySelector('.thumb[aria-pressed="true"]') ?? item.querySelector(".thumb"))?.focus();
	}
}
