// The messages of the open conversation: at most a few dozen are on the page, earlier ones on demand.

import { $, announce, h } from "./dom.js";
import { icon } from "./icons.js";
import { follow } from "./live.js";
import { Reasoning } from "./reasoning.js";
import { Tail } from "./tail.js";
import { hold, isHeld, readsFrom } from "./versions.js";

const AT_BOTTOM = 48; // pixels
const AT_ONCE = 10; // messages: more than a screen
const POINTED_MS = 2500;
const MOST = 80; // messages on the page when a turn is sent; of more, the newest KEPT stay
const KEPT = 40;
const SPOKEN = 1500; // characters of a finished answer that are announced

export class Thread {
	/**
	 * `labels(model)` gives a model's name for people; `on.retry(id)`, `on.ended(message)` are called. `actions` are what
	 * stands under a settled answer, and `promptActions` under a prompt: each is called with the message and its element and
	 * returns a button, or null. `goOn(message)` is a button for an answer that was cut off, or null.
	 */
	constructor(labels, on, actions, promptActions, goOn) {
		this.labels = labels;
		this.on = on;
		this.actions = actions;
		this.promptActions = promptActions;
		this.goOn = goOn;
		this.messages = new Map(); // by id, as they were last told
		this.rest = []; // what is about to stand above what is shown
		this.list = $("p-thread");
		this.scroller = $("p-scroll");
		this.sticks = true;
		this.running = null;
		this.held = false; // while something is on its way to an answer, or answered
		this.answered = new Set();
		this.scroller.addEventListener("scroll", () => this.watchScroll(), { passive: true });
		new ResizeObserver(() => this.sticks && this.toBottom()).observe(this.list);
		$("p-down").addEventListener("click", () => this.toBottom(true));
		this.list.addEventListener("click", isHeld, true);
		this.list.addEventListener("click", (event) => copyFrom(event));
	}

	clear() {
		this.leave();
		this.list.replaceChildren();
		this.answered = new Set();
		this.messages.clear();
		this.rest = [];
		this.sticks = true;
	}

	/** Until it is let go, nothing here changes which branch is shown. */
	hold(held) {
		if (held !== this.held) hold(this.list, held);
		this.held = held;
	}

	/** Stop reading the running answer; it goes on without this page. */
	leave() {
		this.running?.abort.abort();
		this.running = null;
	}

	/** The newest messages are on the screen at once; what stands above them follows when they are painted, or needed. */
	show(messages) {
		this.clear();
		this.rest = messages.slice(0, -AT_ONCE);
		for (const { role, model } of this.rest) if (role === "assistant") this.answered.add(model);
		this.list.append(...messages.slice(-AT_ONCE).map((message) => this.element(message)));
		this.markContext();
		this.toBottom();
		const { rest } = this;
		const later = () => rest === this.rest && this.complete();
		requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(later)));
		const running = messages.find((message) => message.state === "running");
		if (running) this.follow(running);
	}

	/** Put what `show` left for later in its place. */
	complete() {
		const { rest, sticks } = this;
		this.rest = [];
		if (!rest.length) return;
		this.prepend(rest);
		this.sticks = sticks;
		if (sticks) this.toBottom();
	}

	/** Put earlier messages on top without moving what is being read. */
	prepend(messages) {
		this.complete();
		const before = this.scroller.scrollHeight - this.scroller.scrollTop;
		this.sticks = false;
		this.list.prepend(...messages.map((message) => this.element(message)));
		this.markContext();
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

	/** Put another version, and what follows it, in the place of message `from` and all below it. What stands above does not
	 * move. False: it is not on the page, or not among `messages`. */
	branch(from, id, messages) {
		const at = messages.findIndex((message) => message.id === id);
		if (at < 0 || !this.find(from)) return false;
		this.leave();
		this.sticks = false;
		const { scrollTop } = this.scroller;
		this.cut(from);
		this.list.append(...messages.slice(at).map((message) => this.element(message)));
		this.markContext();
		this.scroller.scrollTop = scrollTop;
		return true;
	}

	/** Take message `id` and all below it off the page. */
	cut(id) {
		const first = this.find(id);
		while (first?.nextElementSibling) first.nextElementSibling.remove();
		first?.remove();
	}

	/** Whether these are what stands at the end of the page already. */
	isShowing(messages) {
		this.complete();
		const turns = [...this.list.querySelectorAll(":scope > .turn")].slice(-messages.length);
		const same = (turn, { id, state, text }) => turn?.dataset.id === id && this.messages.get(id)?.state === state && this.messages.get(id)?.text === text;
		return messages.every((message, at) => same(turns[at], message));
	}

	/** The line above which the model of the newest answer did not read, where that message is on the page. */
	markContext() {
		this.list.querySelector(".reads-from")?.remove();
		const answers = [...this.list.querySelectorAll(":scope > .answer")].reverse().map((item) => this.messages.get(item.dataset.id));
		const omitted = answers.find((message) => message && message.state !== "failed")?.omitted;
		if (omitted) this.list.querySelector(`:scope > [data-depth="${omitted}"]`)?.before(readsFrom());
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
		this.complete();
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
		if (this.rest.some((message) => message.id === id)) this.complete();
		return this.list.querySelector(`[data-id="${CSS.escape(id)}"]`);
	}

	replace(id, message) {
		this.find(id)?.replaceWith(this.element(message));
	}

	element(message) {
		const user = message.role === "user";
		const item = h("li", { class: user ? "turn prompt" : "turn answer", "data-id": message.id, "data-model": message.model, "data-depth": message.depth });
		this.messages.set(message.id, message);
		item.append(h("h2", { class: "unseen", text: user ? "You" : this.labels(message.model) }));
		if (!user) this.answered.add(message.model);
		if (user) item.append(h("div", { class: "said", dir: "auto", text: message.text }), h("div", { class: "foot" }, ...this.promptActions.map((action) => action(message, item)).filter(Boolean)));
		else if (message.state === "running") item.append(h("div", { class: "md" }), waiting("Waiting for the first word"));
		else this.settle(item, message);
		hold(item, this.held);
		return item;
	}

	/** The final form of an answer. `html` was sanitised by the server; nothing else is ever put in as HTML. */
	settle(item, message, already = null) {
		this.messages.set(message.id, message);
		item.querySelectorAll(".waiting, .problem, .foot, .made").forEach((element) => element.remove());
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
			this.goOn(message),
			message.state === "done" ? null : h("button", { class: "again waits", type: "button", text: "Try again", onclick: again }),
		);
	}

	foot(message, item) {
		return h("div", { class: "foot" }, ...this.actions.map((action) => action(message, item)));
	}

	/** Read on where a cut-off answer goes on; what stands there stays until the stream has said it again. */
	resume(message) {
		const item = this.find(message.id);
		item.querySelectorAll(".problem, .foot, .made").forEach((element) => element.remove());
		item.append(waiting("Waiting for the next word"));
		this.messages.set(message.id, { ...message, omitted: this.messages.get(message.id)?.omitted ?? 0 });
		this.sticks = true;
		this.follow(message);
	}

	follow(message) {
		this.leave();
		const item = this.find(message.id);
		const running = { id: message.id, abort: new AbortController(), html: "", tail: new Tail() };
		this.running = running;
		const body = item.querySelector(".md");
		if (!body.hasChildNodes()) body.append(running.tail.element);
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
			message.continued,
		);
	}

	apply(item, running, event) {
		if (this.running !== running) return;
		const status = item.querySelector(".waiting");
		if (event.done) return this.end(event.done, event.problem);
		if (event.omitted !== undefined) {
			this.messages.get(running.id).omitted = event.omitted;
			return this.markContext();
		}
		if (event.gone) return this.end({ id: running.id, state: "interrupted", error: event.gone.message, text: "", html: running.html });
		if (event.lost) status ? setWaiting(status, "The connection was lost. Trying again") : item.append(waiting("The connection was lost. Trying again"));
		else if (event.status) status ? setWaiting(status, event.status) : item.append(waiting(event.status));
		else {
			if (!event.whole || !this.messages.get(running.id)?.text || event.at > 1) status?.remove();
			if (event.whole) {
				item.querySelector(".md").replaceChildren(running.tail.element);
				forgetReasoning(item);
				running.html = "";
			}
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
	end(message, problem = null) {
		const running = this.running;
		if (!running || running.id !== message.id) return;
		this.leave();
		const item = this.find(message.id);
		if (message.state === "deleted") item?.remove();
		else if (item) {
			this.settle(item, message, running);
			this.markContext();
			announce(`${this.labels(message.model)}: ${(message.text ?? "").slice(0, SPOKEN)} ${problemOf(message) ?? ""}`);
		}
		if (this.sticks) this.toBottom();
		this.on.ended(message, problem);
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

function forgetReasoning(item) {
	reasonings.get(item)?.element.remove();
	reasonings.delete(item);
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
