// The messages of the open conversation: at most a few dozen are on the page, earlier ones on demand.

import { $, announce, h } from "./dom.js";
import { icon } from "./icons.js";
import { follow } from "./live.js";
import { Reasoning } from "./reasoning.js";
import { Tail } from "./tail.js";

const AT_BOTTOM = 48; // pixels
const POINTED_MS = 2500;
const MOST = 80; // messages on the page when a turn is sent; of more, the newest KEPT stay
const KEPT = 40;
const SPOKEN = 1500; // characters of a finished answer that are announced

export class Thread {
	/**
	 * `labels(model)` gives a model's name for people; `on.retry(id)`, `on.ended(message)` are called. `actions` are what
	 * stands under a settled answer: each is called with the message and its element and returns a button, or null.
	 */
	constructor(labels, on, actions = [copyAnswer]) {
		this.labels = labels;
		this.on = on;
		this.actions = actions;
		this.list = $("p-thread");
		this.scroller = $("p-scroll");
		this.sticks = true;
		this.running = null;
		this.answered = new Set();
		this.scroller.addEventListener("scroll", () => this.watchScroll(), { passive: true });
		new ResizeObserver(() => this.sticks && this.toBottom()).observe(this.list);
		$("p-down").addEventListener("click", () => this.toBottom(true));
		this.list.addEventListener("click", (event) => copyFrom(event));
	}

	clear() {
		this.leave();
		this.list.replaceChildren();
		this.answered = new Set();
		this.sticks = true;
	}

	/** Stop reading the running answer; it goes on without this page. */
	leave() {
		this.running?.abort.abort();
		this.running = null;
	}

	show(messages) {
		this.clear();
		this.list.append(...messages.map((message) => this.element(message)));
		this.toBottom();
		const running = messages.find((message) => message.state === "running");
		if (running) this.follow(running);
	}

	/** Put earlier messages on top without moving what is being read. */
	prepend(messages) {
		const before = this.scroller.scrollHeight - this.scroller.scrollTop;
		this.sticks = false;
		this.list.prepend(...messages.map((message) => this.element(message)));
		this.scroller.scrollTop = this.scroller.scrollHeight - before;
	}

	/** Bring a message into view and show which one it is. */
	point(id) {
		const item = this.find(id);
		if (!item) return;
		this.sticks = false;
		item.tabIndex = -1;
		item.focus({ preventScroll: true });
		item.scrollIntoView({ block: item.offsetHeight < this.scroller.clientHeight ? "center" : "start" });
		item.classList.add("pointed");
		setTimeout(() => item.classList.remove("pointed"), POINTED_MS);
	}

	add(...messages) {
		for (const message of messages) this.list.append(this.element(message));
		this.sticks = true;
		this.toBottom();
	}

	/**
	 * Let go of what stands far above: each message on the page costs while an answer is drawn. Returns the id of the first
	 * that stays, or null where all do.
	 */
	trim() {
		const turns = [...this.list.querySelectorAll(":scope > .turn")];
		if (turns.length <= MOST) return null;
		for (const turn of turns.slice(0, -KEPT)) turn.remove();
		return turns.at(-KEPT).dataset.id;
	}

	/** The names of the models that answered here, as far as it was ever on the page. */
	get models() {
		return [...this.answered];
	}

	find(id) {
		return this.list.querySelector(`[data-id="${CSS.escape(id)}"]`);
	}

	replace(id, message) {
		this.find(id)?.replaceWith(this.element(message));
	}

	element(message) {
		const user = message.role === "user";
		const item = h("li", { class: user ? "turn prompt" : "turn answer", "data-id": message.id, "data-model": message.model });
		item.append(h("h2", { class: "unseen", text: user ? "You" : this.labels(message.model) }));
		if (!user) this.answered.add(message.model);
		if (user) item.append(h("div", { class: "said", dir: "auto", text: message.text }));
		else if (message.state === "running") item.append(h("div", { class: "md" }), waiting("Waiting for the first word"));
		else this.settle(item, message);
		return item;
	}

	/** The final form of an answer. `html` was sanitised by the server; nothing else is ever put in as HTML. */
	settle(item, message, already = null) {
		item.querySelectorAll(".waiting, .problem, .foot").forEach((element) => element.remove());
		const body = item.querySelector(".md") ?? item.appendChild(h("div", { class: "md" }));
		if (message.reasoning) reasoningOf(item).end(message.reasoning_seconds, message.reasoning);
		const html = message.html ?? "";
		if (already?.html && html.startsWith(already.html)) {
			already.tail.element.insertAdjacentHTML("beforebegin", html.slice(already.html.length));
			already.tail.element.remove();
		} else body.innerHTML = html;
		decorate(body);
		const sentence = problemOf(message);
		if (sentence) item.append(this.problem(message, sentence));
		item.append(this.foot(message, item));
	}

	problem(message, sentence) {
		const again = () => this.on.retry(message.id);
		const failed = message.state === "failed" || message.state === "interrupted";
		return h(
			"div",
			{ class: failed ? "problem failed" : "problem", role: failed ? "alert" : null },
			h("span", { text: sentence }),
			message.state === "done" ? null : h("button", { class: "again", type: "button", text: "Try again", onclick: again }),
		);
	}

	foot(message, item) {
		const foot = h("div", { class: "foot" }, ...this.actions.map((action) => action(message, item)));
		const params = Object.entries(message.params ?? {}).filter(([, value]) => value !== null);
		const how = params.map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`).join(", ");
		foot.append(h("span", { class: "who", title: how || null, text: this.labels(message.model) }));
		return foot;
	}

	follow(message) {
		this.leave();
		const item = this.find(message.id);
		const running = { id: message.id, abort: new AbortController(), html: "", tail: new Tail() };
		this.running = running;
		const body = item.querySelector(".md");
		body.replaceChildren(running.tail.element);
		// Events are shown once per frame; a page in the background catches up when it is looked at.
		let queue = [];
		const flush = () => {
			for (const event of queue.splice(0)) this.apply(item, running, event);
			if (this.sticks) this.toBottom();
		};
		follow(
			message.id,
			(event) => {
				queue.push(event);
				if (event.done || event.gone || document.hidden) flush();
				else if (queue.length === 1) requestAnimationFrame(flush);
			},
			running.abort.signal,
		);
	}

	apply(item, running, event) {
		if (this.running !== running) return;
		const status = item.querySelector(".waiting");
		if (event.done) return this.end(event.done);
		if (event.gone) return this.end({ id: running.id, state: "interrupted", error: event.gone.message, text: "", html: running.html });
		if (event.lost) status ? setWaiting(status, "The connection was lost. Trying again") : item.append(waiting("The connection was lost. Trying again"));
		else if (event.status) status ? setWaiting(status, event.status) : item.append(waiting(event.status));
		else {
			status?.remove();
			if (event.reasoning) reasoningOf(item).append(event.reasoning);
			if (event.reasoning_seconds !== undefined) reasoningOf(item).end(event.reasoning_seconds);
			if (event.html !== undefined) {
				running.tail.element.insertAdjacentHTML("beforebegin", event.html);
				running.html += event.html;
				running.tail.reset(event.tail ?? "");
				decorate(item.querySelector(".md"));
			} else if (event.text) running.tail.append(event.text);
		}
	}

	/** The running answer is over, told by the stream or by the answer to Stop, whichever comes first. */
	end(message) {
		const running = this.running;
		if (!running || running.id !== message.id) return;
		this.leave();
		const item = this.find(message.id);
		if (message.state === "deleted") item?.remove();
		else if (item) {
			this.settle(item, message, running);
			announce(`${this.labels(message.model)}: ${(message.text ?? "").slice(0, SPOKEN)} ${problemOf(message) ?? ""}`);
		}
		if (this.sticks) this.toBottom();
		this.on.ended(message);
	}

	watchScroll() {
		const { scrollHeight, scrollTop, clientHeight } = this.scroller;
		this.sticks = scrollHeight - scrollTop - clientHeight < AT_BOTTOM;
		$("p-down").hidden = this.sticks;
	}

	toBottom(smooth = false) {
		const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
		this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: smooth && !calm ? "smooth" : "instant" });
	}
}

const reasonings = new WeakMap();

/** What was thought before the answer in `item`, which stands above it. */
function reasoningOf(item) {
	if (!reasonings.has(item)) {
		const reasoning = new Reasoning();
		reasonings.set(item, reasoning);
		item.querySelector(".md").before(reasoning.element);
	}
	return reasonings.get(item);
}

function problemOf(message) {
	if (message.state === "failed") return message.error ?? "The answer could not be written. Try again.";
	if (message.state === "interrupted") return message.error ?? "The answer was interrupted. What had been written is kept.";
	if (message.state === "stopped") return "Stopped.";
	if (message.finish_reason === "length") return "The answer reached its longest length. Raise “Max tokens” in Settings for longer ones.";
	return null;
}

const waiting = (text) => setWaiting(h("p", { class: "waiting" }), text);

function setWaiting(element, text) {
	element.replaceChildren(h("span", { class: "pulse", "aria-hidden": "true" }), h("span", { text }));
	return element;
}

/** An action: the button that copies the answer as it was written. */
export function copyAnswer(message) {
	if (!message.text) return null;
	const copy = h("button", { class: "bare", type: "button", "aria-label": "Copy the answer", title: "Copy" }, icon("copy"));
	copy.addEventListener("click", () => copied(copy, message.text));
	return copy;
}

/** Copy buttons lie over their code block, so adding them moves nothing. */
function decorate(body) {
	for (const block of body.querySelectorAll(":scope > .code:not(.ready), :scope > :not(.tail) .code:not(.ready)")) {
		block.classList.add("ready");
		block.querySelector("pre").tabIndex = 0;
		block.append(h("button", { class: "bare copy", type: "button", "aria-label": "Copy the code", title: "Copy" }, icon("copy")));
	}
}

function copyFrom(event) {
	const button = event.target.closest("button.copy");
	if (button) copied(button, button.closest(".code").querySelector("code").textContent);
}

async function copied(button, text) {
	try {
		await navigator.clipboard.writeText(text);
		button.replaceChildren(icon("done"));
		announce("Copied");
	} catch {
		button.title = "The browser did not allow copying";
		announce(button.title);
	}
	setTimeout(() => button.replaceChildren(icon("copy")), 1500);
}
