// The page: puts the parts together and carries one turn from the box to its answer.

import { Account } from "./account.js";
import { api } from "./api.js";
import { Composer } from "./composer.js";
import { $, phone, present, stored } from "./dom.js";
import { Feedback } from "./feedback.js";
import { draw } from "./icons.js";
import { Kept } from "./kept.js";
import { Models } from "./models.js";
import { Readers } from "./readers.js";
import { Search } from "./search.js";
import { Settings, baseOf } from "./settings.js";
import { Side } from "./side.js";
import { theme } from "./theme.js";
import { TEMPORARY, Temporary } from "./temporary.js";
import { Thread, copyAnswer } from "./thread.js";
import { Versions, newKey } from "./versions.js";

const STATUS_MS = 2000;
const LIST_MS = 5000;
const LOOK_MS = 20_000; // what was said on another machine is here so much later at the latest

class Page {
	constructor() {
		this.conversation = null;
		this.earlier = null;
		this.shown = 0; // counts openings, so that a slow answer to an old one is dropped
		this.models = new Models({ chosen: (model) => this.choose(model) });
		this.settings = new Settings();
		this.readers = new Readers();
		this.kept = new Kept(() => this.refreshList());
		this.composer = new Composer({ send: () => this.send(), stop: () => this.stop() });
		this.temporary = new Temporary(() => {
			this.adopt(null);
			this.sayWhoReads();
			this.composer.box.focus();
		});
		this.versions = new Versions(this.models, {
			step: (id, from) => this.step(id, from),
			retry: (id) => this.retry(id),
			goOn: (id) => this.goOn(id),
			edit: (message, text) => this.edit(message, text),
		});
		this.thread = new Thread(
			(name) => this.models.label(name),
			{ retry: (id) => this.retry(id), ended: (message, problem) => this.ended(message, problem) },
			[copyAnswer, (message, item) => (this.temporary.on ? null : this.feedback.action(message, item)), ...this.versions.answer],
			this.versions.prompt,
			(message) => this.versions.goOn(message),
		);
		const problem = (sentence) => this.composer.problem(sentence);
		this.feedback = new Feedback(problem);
		this.side = new Side({
			problem,
			renamed: (conversation) => this.renamed(conversation),
			removed: (ids) => ids.includes(this.conversation?.id) && this.go(null),
			restored: (id) => this.go(id),
		});
		this.search = new Search((conversation, message) => this.goTo(conversation, message));
		this.account = new Account({ problem, moved: () => this.side.refresh() });
		$("p-new").addEventListener("click", () => this.newChat());
		$("p-new-phone").addEventListener("click", () => this.newChat());
		$("p-earlier").addEventListener("click", () => this.showEarlier());
		$("p-open-models").addEventListener("click", (event) => {
			if (event.ctrlKey || event.metaKey || event.shiftKey) return;
			event.preventDefault();
			this.models.open();
		});
		document.addEventListener("keydown", (event) => event.key === "Escape" && this.escape(event));
		document.addEventListener("visibilitychange", () => !document.hidden && this.lookAgain());
		window.addEventListener("hashchange", () => this.open(opened()));
		window.addEventListener("online", () => this.lookAgain());
		window.addEventListener("pageshow", (event) => event.persisted && this.open(opened()));
		// Other tabs of this browser: one that shows the same conversation looks again when it changed here.
		this.tabs = new BroadcastChannel("parley-conversations");
		this.tabs.onmessage = ({ data }) => data === this.conversation?.id && this.lookAgain();
	}

	async start() {
		try {
			await Promise.all([this.account.load(), this.models.load()]);
			await Promise.all([this.side.refresh(), this.open(opened())]);
		} catch (error) {
			this.composer.problem(error.message);
		}
		setInterval(() => !document.hidden && this.side.anyRunning && this.refreshList(), LIST_MS);
		// Whoever is not signed in has no other machine.
		setInterval(() => !document.hidden && this.account.signedIn && this.lookElsewhere(), LOOK_MS);
		this.watchEngine();
	}

	async refreshList() {
		try {
			await this.side.refresh();
			const listed = this.side.items.find((item) => item.id === this.conversation?.id);
			if (listed) this.kept.show(listed);
		} catch {} // the list is looked at again soon
	}

	newChat() {
		if (phone()) this.side.toggle(false);
		if (this.conversation) this.go(null);
		this.composer.box.focus();
	}

	go(id) {
		if (id === opened()) return this.open(id);
		location.hash = id ? `c=${encodeURIComponent(id)}` : "";
		if (!id) history.replaceState(null, "", location.pathname + location.search);
	}

	/** Open a conversation at one of its messages; null: at its end. */
	async goTo(id, message) {
		if (phone()) this.side.toggle(false);
		this.wanted = message;
		if (id === this.conversation?.id) await this.showWanted();
		else this.go(id);
	}

	/** Bring the message that was asked for into view, with what stands between it and what is on the page. */
	async showWanted() {
		const mine = this.shown;
		const wanted = this.wanted;
		this.wanted = null;
		while (wanted && !this.thread.find(wanted) && this.earlier) {
			const { messages, earlier } = await api.conversation(this.conversation.id, this.earlier, wanted);
			if (mine !== this.shown) return;
			this.thread.prepend(messages);
			this.earlier = earlier;
			$("p-earlier").hidden = !earlier;
		}
		if (wanted) this.thread.point(wanted);
	}

	async open(id) {
		if (id && id === this.conversation?.id) return;
		const mine = ++this.shown;
		this.temporary.leave();
		this.thread.clear();
		this.adopt(null);
		this.earlier = null;
		this.composer.open(id);
		this.composer.set("send");
		if (!id) {
			const asked = new URLSearchParams(location.search).get("model");
			this.useModel(this.models.pick(asked, stored.get("localStorage", "parley:model")));
			this.settings.open(null, baseOf(this.models.chosen ?? {}));
			if (!phone()) this.composer.box.focus();
		} else await this.load(id, mine);
		$("p-start").hidden = Boolean(opened());
		$("p-earlier").hidden = !this.earlier;
	}

	async load(id, mine) {
		try {
			const found = await api.conversation(id);
			if (mine !== this.shown) return;
			this.adopt(found.conversation);
			this.earlier = found.earlier;
			this.useModel(this.models.pick(found.conversation.model));
			this.settings.open(id, baseOf(found.conversation));
			this.thread.show(found.messages);
			this.sayWhoReads();
			this.composer.set(this.thread.running ? "stop" : "send");
			await this.showWanted();
		} catch (error) {
			if (mine !== this.shown) return;
			if (error.status === 404) {
				history.replaceState(null, "", location.pathname + location.search);
				await this.open(null);
			}
			this.composer.problem(error.message);
		}
	}

	adopt(conversation) {
		this.conversation = conversation;
		const title = this.temporary.on ? "Temporary chat" : conversation?.title;
		$("p-title").textContent = title ?? "New chat";
		document.title = conversation ? `${title} · Parley` : "Parley";
		this.kept.show(this.temporary.on ? null : conversation);
		this.temporary.offer(!conversation && !opened());
		this.side.select(this.temporary.on ? null : (conversation?.id ?? null));
	}

	renamed(conversation) {
		if (conversation.id === this.conversation?.id && conversation.title !== this.conversation.title) this.adopt({ ...this.conversation, title: conversation.title });
	}

	trim() {
		const first = this.thread.trim();
		if (!first) return;
		this.earlier = first;
		$("p-earlier").hidden = false;
	}

	async showEarlier() {
		const mine = this.shown;
		try {
			const { messages, earlier } = await api.conversation(this.conversation.id, this.earlier);
			if (mine !== this.shown) return;
			this.thread.prepend(messages);
			this.earlier = earlier;
			$("p-earlier").hidden = !earlier;
		} catch (error) {
			this.composer.problem(error.message);
		}
	}

	choose(model) {
		stored.set("localStorage", "parley:model", model.name);
		this.useModel(model);
		if (!this.conversation) this.settings.rebase(baseOf(model));
		this.watchEngine();
	}

	useModel(model) {
		this.models.show(model);
		this.settings.of(model);
		this.sayWhoReads();
	}

	sayWhoReads() {
		const { chosen } = this.models;
		const hosts = this.models.readers(chosen, this.thread.models);
		this.readers.show(this.conversation?.id ?? null, chosen?.name, hosts, this.temporary.on ? TEMPORARY : null);
	}

	/** What a turn carries beside its text. */
	get how() {
		return {
			conversation: this.conversation?.id ?? null,
			model: this.models.chosen?.name ?? null,
			params: this.settings.params,
			system_prompt: this.settings.systemPrompt,
		};
	}

	/** The conversation has changed here: the list and other tabs hear of it. */
	changed(conversation) {
		if (this.temporary.on) return;
		this.side.update(conversation);
		this.tabs.postMessage(conversation.id);
	}

	async send() {
		const taken = this.composer.take();
		const key = this.composer.keyOf(taken.text);
		const mine = this.shown;
		this.composer.problem(null);
		$("p-start").hidden = true;
		const pending = `pending-${Date.now()}`;
		this.thread.add({ id: pending, role: "user", text: taken.text });
		this.trim();
		try {
			const turn = await api.send({ ...this.how, text: taken.text, key });
			this.composer.sent(taken, turn.conversation.id);
			this.changed(turn.conversation);
			if (mine === this.shown) this.accepted(turn, pending);
		} catch (error) {
			this.thread.find(pending)?.remove();
			if (mine !== this.shown) return;
			this.composer.set("send");
			this.composer.giveBack(taken, error.message);
			$("p-start").hidden = Boolean(this.conversation);
		}
	}

	accepted({ conversation, prompt, answer }, pending) {
		const first = !this.conversation;
		this.settings.sent(conversation.id, conversation);
		this.adopt(conversation);
		if (this.temporary.on) this.temporary.begun(conversation.id);
		else if (first) history.pushState(null, "", `#c=${encodeURIComponent(conversation.id)}`);
		this.sayWhoReads();
		// Sent again after its answer was lost, it may stand here already.
		if (pending !== prompt.id && this.thread.find(prompt.id)) this.thread.find(pending).remove();
		else {
			this.thread.replace(pending, prompt);
			this.thread.add(answer);
		}
		this.read(answer);
	}

	/** Follow an answer, if it is still being written. */
	read(answer) {
		if (answer.state !== "running") return this.composer.set("send");
		if (this.thread.running?.id !== answer.id) this.thread.follow(answer);
		this.composer.set("stop");
		$("p-engine").hidden = true;
	}

	/** Send another version of a prompt. Returns a sentence where that failed. */
	async edit(message, text) {
		const mine = this.shown;
		if (this.edited?.text !== text || this.edited.of !== message.id) this.edited = { text, of: message.id, key: newKey() };
		try {
			const turn = await api.send({ ...this.how, text, beside: message.id, key: this.edited.key });
			this.changed(turn.conversation);
			if (mine !== this.shown) return null;
			this.thread.cut(message.id);
			this.thread.add(turn.prompt);
			this.accepted(turn, turn.prompt.id);
			return null;
		} catch (error) {
			return error.message;
		}
	}

	/** Show another version of a message, with what stood below it. */
	async step(id, from) {
		const mine = this.shown;
		const back = document.activeElement?.classList.contains("left") ? "left" : "right";
		this.composer.problem(null);
		try {
			const { conversation, messages, earlier } = await api.step(id);
			this.changed(conversation);
			if (mine !== this.shown) return;
			this.adopt(conversation);
			if (!this.thread.branch(from, id, messages)) {
				this.thread.show(messages);
				this.earlier = earlier;
				$("p-earlier").hidden = !earlier;
			}
			const arrows = [...(this.thread.find(id)?.querySelectorAll(".versions button:not(:disabled)") ?? [])];
			(arrows.find((arrow) => arrow.classList.contains(back)) ?? arrows[0])?.focus({ preventScroll: true });
			this.sayWhoReads();
		} catch (error) {
			this.composer.problem(error.message);
		}
	}

	/** Have a cut-off answer go on. */
	async goOn(id) {
		this.composer.problem(null);
		try {
			const { conversation, answer } = await api.goOn(id);
			this.changed(conversation);
			this.adopt(conversation);
			this.thread.resume(answer);
			this.composer.set("stop");
			this.composer.box.focus();
		} catch (error) {
			this.composer.problem(error.message);
		}
	}

	async retry(id) {
		this.composer.problem(null);
		try {
			const how = { model: this.models.chosen?.name ?? null, params: this.settings.params };
			const { conversation, answer } = await api.retry(id, how);
			this.changed(conversation);
			this.adopt(conversation);
			this.thread.cut(id);
			this.thread.add(answer);
			this.read(answer);
			this.composer.box.focus();
		} catch (error) {
			this.composer.problem(error.message);
		}
	}

	async stop() {
		const running = this.thread.running;
		if (!running) return;
		try {
			const { answer } = await api.stop(running.id);
			this.thread.end(answer);
		} catch (error) {
			this.composer.problem(error.message);
		}
	}

	ended(message, problem) {
		this.composer.set("send");
		if (problem) this.composer.problem(problem);
		this.watchEngine();
		this.refreshList();
		this.sayWhoReads();
	}

	escape(event) {
		if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
		if (this.settings.isOpen) this.settings.toggle(false);
		else if (document.body.classList.contains("p-side-open")) this.side.toggle(false);
		else if (this.thread.running) this.stop();
	}

	/** Another machine may have gone on with the conversation: the list says so. */
	async lookElsewhere() {
		await this.refreshList();
		const listed = this.side.items.find((item) => item.id === this.conversation?.id);
		if (listed && listed.revision !== this.conversation.revision) await this.readAgain();
	}

	/** Back at this tab: another one may have gone on with the conversation. */
	async lookAgain() {
		this.sayWhoReads();
		await this.refreshList();
		await this.readAgain();
	}

	async readAgain() {
		const mine = this.shown;
		if (!this.conversation || this.temporary.on || this.thread.running) return;
		try {
			const found = await api.conversation(this.conversation.id);
			if (mine !== this.shown || this.thread.running || document.querySelector(".editing")) return;
			if (found.conversation.revision === this.conversation.revision) return;
			if (this.thread.isShowing(found.messages)) this.adopt(found.conversation);
			else await this.load(found.conversation.id, ++this.shown);
			$("p-earlier").hidden = !this.earlier;
		} catch {} // looked at again soon
	}

	/** Say what the chosen model's engine is doing, until it is ready. */
	async watchEngine() {
		clearTimeout(this.watching);
		const line = $("p-engine");
		const model = this.models.chosen;
		if (!model) return;
		let stage = "unknown";
		try {
			const status = await api.status(model.name);
			stage = status.stage;
			line.textContent = stage === "ready" ? "" : status.detail;
			line.dataset.stage = stage;
		} catch (error) {
			line.textContent = error.message; // asked again below
			line.dataset.stage = stage;
		}
		// An answer that waits says the same in its own place.
		line.hidden = stage === "ready" || !line.textContent || Boolean(this.thread.running);
		if (stage !== "ready") this.watching = setTimeout(() => this.watchEngine(), document.hidden ? 5 * STATUS_MS : STATUS_MS);
	}
}

function opened() {
	return new URLSearchParams(location.hash.slice(1)).get("c");
}

await Promise.all(["p-nav", "p-main", "p-settings", "p-models", "p-close-settings", "p-bridge"].map(present));
draw(document);
theme();
const page = new Page();
window.parley.settings = page.settings;
page.settings.tell();
await page.start();
document.documentElement.dataset.parley = "ready";
