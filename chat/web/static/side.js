// The list of conversations, newest first, grouped by day.

import { api } from "./api.js";
import { $, h, phone } from "./dom.js";
import { confirmed } from "./dialogs.js";
import { icon } from "./icons.js";

const DAY = 86_400_000;

export class Side {
	/** `on.open(id)`, `on.removed(id)` and `on.problem(sentence)` are called. */
	constructor(on) {
		this.on = on;
		this.items = [];
		this.next = null;
		this.current = null;
		this.list = $("p-conversations");
		this.panel = $("p-nav");
		$("p-menu").addEventListener("click", () => this.toggle(true));
		$("p-shade").addEventListener("click", () => this.toggle(false));
		$("p-more").addEventListener("click", () => this.more());
		matchMedia("(max-width: 52rem)").addEventListener("change", () => this.toggle(false));
		this.toggle(false);
	}

	/** On a phone the panel lies over the page and takes the focus. */
	toggle(open) {
		const was = document.body.classList.contains("p-side-open");
		document.body.classList.toggle("p-side-open", open);
		$("p-menu").setAttribute("aria-expanded", String(open));
		this.panel.inert = phone() && !open;
		if (phone() && open) $("p-new").focus();
		else if (was && phone()) $("p-menu").focus();
	}

	async refresh() {
		const { items, next } = await api.conversations();
		const known = new Set(items.map((item) => item.id));
		const last = items.at(-1)?.updated_at ?? 0;
		// Pages that were loaded before stay, but for what has moved up.
		const older = next && this.items.length > items.length ? this.items.filter((item) => !known.has(item.id) && item.updated_at < last) : [];
		if (!older.length) this.next = next;
		this.items = [...items, ...older];
		this.draw();
	}

	async more() {
		try {
			const { items, next } = await api.conversations(this.next);
			const known = new Set(this.items.map((item) => item.id));
			this.items.push(...items.filter((item) => !known.has(item.id)));
			this.next = next;
		} catch (error) {
			this.on.problem(error.message);
		}
		this.draw();
	}

	/** A conversation that is new or has changed. */
	update(conversation) {
		this.items = [conversation, ...this.items.filter((item) => item.id !== conversation.id)];
		this.items.sort((a, b) => b.updated_at - a.updated_at);
		this.draw();
	}

	select(id) {
		this.current = id;
		this.draw();
	}

	get anyRunning() {
		return this.items.some((item) => item.running);
	}

	draw() {
		if (this.list.querySelector("input")) return; // a name is being written
		const focused = document.activeElement?.closest?.("[data-conversation]")?.dataset.conversation;
		const groups = [];
		for (const item of this.items) {
			const day = dayOf(item.updated_at * 1000);
			if (groups.at(-1)?.day !== day) groups.push({ day, rows: [] });
			groups.at(-1).rows.push(this.row(item));
		}
		this.list.replaceChildren(
			...groups.map(({ day, rows }) => h("section", {}, h("h2", { text: day }), h("ul", {}, ...rows))),
		);
		if (!groups.length) this.list.append(h("p", { class: "empty", text: "Your conversations will be listed here." }));
		$("p-more").hidden = !this.next;
		if (focused) this.list.querySelector(`[data-conversation="${CSS.escape(focused)}"] a`)?.focus({ preventScroll: true });
	}

	row(item) {
		const current = item.id === this.current;
		const open = h("a", { href: `#c=${encodeURIComponent(item.id)}`, "aria-current": current ? "page" : null, dir: "auto", title: item.title, text: item.title });
		open.addEventListener("click", () => phone() && this.toggle(false));
		const button = (name, label, act) =>
			h("button", { class: "bare", type: "button", "aria-label": `${label}: ${item.title}`, title: label, onclick: act }, icon(name));
		return h(
			"li",
			{ "data-conversation": item.id, class: current ? "current" : null },
			open,
			item.running ? h("span", { class: "pulse", title: "An answer is being written" }) : null,
			button("pencil", "Rename", () => this.rename(item)),
			button("bin", "Delete", () => this.remove(item)),
		);
	}

	rename(item) {
		const row = this.list.querySelector(`[data-conversation="${CSS.escape(item.id)}"]`);
		const input = h("input", { type: "text", value: item.title, "aria-label": "New name", maxlength: 200, dir: "auto" });
		let over = false;
		const end = async (keep) => {
			if (over) return;
			over = true;
			const title = input.value.trim();
			input.remove();
			if (keep && title && title !== item.title) {
				try {
					const { conversation } = await api.rename(item.id, title);
					Object.assign(item, conversation);
					this.on.renamed(conversation);
				} catch (error) {
					this.on.problem(error.message);
				}
			}
			this.draw();
			this.list.querySelector(`[data-conversation="${CSS.escape(item.id)}"] button`)?.focus();
		};
		input.addEventListener("keydown", (event) => {
			if (event.key === "Enter" && !event.isComposing) end(true);
			if (event.key === "Escape") end(false);
			event.stopPropagation();
		});
		input.addEventListener("blur", () => end(true));
		row.replaceChildren(input);
		input.select();
	}

	async remove(item) {
		if (!(await confirmed("Delete this conversation?", `“${item.title}” will be gone for good.`, "Delete"))) return;
		try {
			await api.remove(item.id);
		} catch (error) {
			return this.on.problem(error.message);
		}
		this.items = this.items.filter((other) => other.id !== item.id);
		this.draw();
		this.on.removed(item.id);
	}
}

function dayOf(time) {
	const today = new Date().setHours(0, 0, 0, 0);
	if (time >= today) return "Today";
	if (time >= today - DAY) return "Yesterday";
	if (time >= today - 7 * DAY) return "Last 7 days";
	return new Date(time).toLocaleDateString("en", { month: "long", year: "numeric" });
}
