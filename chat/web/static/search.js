// Search over titles and messages: Ctrl-K, or the field in the side panel. What is found is shown as text, never as HTML.

import { api } from "./api.js";
import { $, h } from "./dom.js";
import { closable } from "./dialogs.js";

const PAUSE_MS = 120; // between the last letter and the search

export class Search {
	/** `open(conversation, message)` is called with what was chosen; `message` is null for a title. */
	constructor(open) {
		this.choose = open;
		this.dialog = $("p-search");
		this.input = $("p-search-input");
		this.results = $("p-search-results");
		this.status = $("p-search-status");
		this.more = $("p-search-more");
		closable(this.dialog);
		if (/^Mac|^iP/.test(navigator.platform)) $("p-open-search").querySelector("kbd").textContent = "⌘ K";
		$("p-open-search").addEventListener("click", () => this.open());
		document.addEventListener("keydown", (event) => {
			if (!(event.ctrlKey || event.metaKey) || event.altKey || event.shiftKey || event.key.toLowerCase() !== "k") return;
			event.preventDefault();
			this.open();
		});
		this.input.addEventListener("input", () => {
			clearTimeout(this.waiting);
			this.waiting = setTimeout(() => this.look(), PAUSE_MS);
		});
		this.dialog.addEventListener("keydown", (event) => this.move(event));
		this.more.addEventListener("click", () => this.look(this.next));
		// What was looked for is nobody else's: it does not stay on the page.
		this.dialog.addEventListener("close", () => this.clear());
	}

	open() {
		if (this.dialog.open || document.querySelector("dialog[open]")) return;
		this.clear();
		this.dialog.showModal();
		this.input.focus();
	}

	clear() {
		clearTimeout(this.waiting);
		this.abort?.abort();
		this.input.value = "";
		this.show([], null);
		this.status.textContent = "Words, or “a phrase in quotation marks”.";
	}

	async look(before = null) {
		this.abort?.abort();
		const { signal } = (this.abort = new AbortController());
		const query = this.input.value;
		if (!query.trim()) return this.clear();
		try {
			const { hits, next } = await api.search(query, before, signal);
			if (signal.aborted) return;
			this.show(before ? [...this.hits, ...hits] : hits, next);
			this.say();
		} catch (error) {
			if (error.name !== "AbortError") this.status.textContent = error.message;
		}
	}

	say() {
		const count = this.links.length;
		const [number, noun] = [`${count}${this.next ? " and more" : ""}`, count === 1 ? "place" : "places"];
		this.status.textContent = count ? `Found in ${number} ${noun}.` : "Nothing found.";
	}

	/** Hits come newest first; those of one conversation stand together where the newest of them does. */
	show(hits, next) {
		this.hits = hits;
		this.next = next;
		this.more.hidden = next === null;
		const at = this.links.indexOf(document.activeElement);
		const found = new Map();
		for (const hit of hits) found.set(hit.conversation, [...(found.get(hit.conversation) ?? []), hit]);
		this.results.replaceChildren(...[...found.values()].map((group) => this.group(group)));
		// Whoever was quicker than the answer keeps the keyboard among what is found.
		if (at >= 0) (this.links[Math.min(at, this.links.length - 1)] ?? this.input).focus();
	}

	get links() {
		return [...this.results.querySelectorAll("a")];
	}

	group(hits) {
		const [first] = hits;
		const texts = hits.filter((hit) => hit.message);
		// A title is a place of its own only where nothing below it was found.
		const title = h("span", { class: "title", dir: "auto" }, ...pieces(first.title));
		const badge = first.archived ? h("span", { class: "badge", text: "archived" }) : null;
		const head = texts.length ? h("p", { class: "head" }, title, badge) : this.link(first, title, badge, when(first.at));
		return h("li", {}, head, ...texts.map((hit) => this.link(hit, said(hit), when(hit.at))));
	}

	link(hit, ...content) {
		const link = h("a", { href: `#c=${encodeURIComponent(hit.conversation)}`, "data-message": hit.message }, ...content);
		link.addEventListener("click", (event) => {
			if (event.ctrlKey || event.metaKey || event.shiftKey) return;
			event.preventDefault();
			this.dialog.close();
			this.choose(hit.conversation, hit.message);
		});
		return link;
	}

	/** Arrows go through what was found; Enter in the box opens the first; Escape closes. */
	move(event) {
		if (event.key === "Escape" && !event.isComposing) {
			// Else the browser would only empty the box.
			event.preventDefault();
			return this.dialog.close();
		}
		const { links } = this;
		if (event.key === "Enter" && event.target === this.input && !event.isComposing) links[0]?.click();
		const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
		if (!step || !links.length) return;
		event.preventDefault();
		const at = links.indexOf(document.activeElement) + step;
		(at < 0 ? this.input : links[Math.min(at, links.length - 1)]).focus();
	}
}

const said = (hit) =>
	h("span", { class: "said-here" }, h("span", { class: "by", text: hit.role === "user" ? "You: " : "Answer: " }), h("span", { dir: "auto" }, ...pieces(hit.text)));

const pieces = (given) => given.map(([text, found]) => (found ? h("mark", { text }) : document.createTextNode(text)));

const when = (at) => {
	const day = new Date(at * 1000);
	const year = day.getFullYear() === new Date().getFullYear() ? undefined : "numeric";
	return h("time", { datetime: day.toISOString(), text: day.toLocaleDateString("en", { day: "numeric", month: "short", year }) });
};
