// The page: puts the parts together, opens conversations, and looks again where others may have gone on with them.

import { Account } from "./account.js";
import { api } from "./api.js";
import { Composer } from "./composer.js";
import { $, once, phone, present, stored } from "./dom.js";
import { Engine } from "./engine.js";
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
import { Turns } from "./turns.js";
import { Versions } from "./versions.js";

const LIST_MS = 5000;
const GONE = "This conversation was deleted in another tab or on another device.";
const LOOK_MS = 20_000; // what was said on another machine is here so much later at the latest

class Page {
	constructor() {
		this.conversation = null;
		this.earlier = null;
		this.shown = 0; // counts openings, so that a slow answer to an old one is dropped
		this.choice = null; // the name of the model that the visitor chose for the next turn here
		this.models = new Models({ chosen: (model) => this.choose(model) });
		this.settings = new Settings(opened());
		this.engine = new Engine();
		this.turns = new Turns(this);
		this.readers = new Readers();
		this.kept = new Kept(() => this.refreshList());
		const mode = (mode) => this.thread?.hold(mode !== "send");
		this.composer = new Composer({ send: () => this.turns.send(), stop: () => this.turns.stop(), mode }, opened());
		this.temporary = new Temporary(() => {
			this.adopt(null);
			this.sayWhoReads();
			this.composer.box.focus();
		});
		this.versions = new Versions(this.models, {
			step: (id, from) => this.turns.step(id, from),
			retry: (id) => this.turns.retry(id),
			goOn: (id) => this.turns.goOn(id),
			edit: (message, text) => this.turns.edit(message, text),
		});
		this.thread = new Thread(
			(name) => this.models.label(name),
			{ retry: (id) => this.turns.retry(id), ended: (message, problem) => this.ended(message, problem) },
			[copyAnswer, (message, item) => (this.temporary.on ? null : this.feedback.action(message, item)), ...this.versions.answer],
			this.versions.prompt,
			(message) => this.versions.goOn(message),
		);
		const problem = (sentence) => this.composer.problem(sentence);
		this.feedback = new Feedback(problem);
		this.side = new Side({
			problem,
			renamed: (conversation) => this.renamed(conversation),
			removed: (ids) => this.removed(ids),
			undone: () => this.tabs.postMessage(null),
			restored: (id) => this.go(id),
		});
		this.search = new Search((conversation, message) => this.goTo(conversation, message));
		this.account = new Account({ problem, moved: () => this.side.refresh() });
		$("p-new").addEventListener("click", () => this.newChat());
		$("p-new-phone").addEventListener("click", () => this.newChat());
		const earlier = once(() => this.showEarlier());
		$("p-earlier").addEventListener("click", () => earlier(this.earlier));
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
		// Other tabs of this browser: one that shows the same conversation looks again when it changed here, or is gone. Kept, so
		// that they are not collected.
		this.tabs = new BroadcastChannel("parley-conversations");
		this.tabs.onmessage = ({ data }) => (data && data === this.conversation?.id ? this.lookAgain() : this.refreshList());
		this.privacy = new BroadcastChannel("parley-privacy");
		this.privacy.onmessage = () => this.refreshList().then(() => this.readAgain()); // all of them may be deleted there
	}

	async start() {
		// Who is asking, and what there is to choose from: whatever is opened waits for it.
		this.known = Promise.all([this.account.load(), this.models.load()]);
		const listed = this.known.then(() => this.side.refresh());
		await Promise.all([listed, this.open(opened())]).catch((error) => this.composer.problem(error.message));
		setInterval(() => !document.hidden && this.side.anyRunning && this.refreshList(), LIST_MS);
		// Whoever is not signed in has no other machine.
		setInterval(() => !document.hidden && this.account.signedIn && this.lookElsewhere(), LOOK_MS);
		this.watchEngine();
	}

	/** The conversation that the address names; null: none. */
	get asked() {
		return opened();
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
		if (this.conversation || opened() || this.thread.messages.size) this.go(null);
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
			if (!(await this.showEarlier(wanted)) || mine !== this.shown) return;
		}
		if (wanted) this.thread.point(wanted);
	}

	open(id) {
		this.opening = this.bring(id);
		return this.opening;
	}

	async bring(id) {
		if (id && id === this.conversation?.id) return;
		const mine = ++this.shown;
		this.choice = null;
		this.temporary.leave();
		this.thread.clear();
		this.adopt(null);
		this.above(null);
		this.composer.open(id);
		this.composer.set("send");
		await this.known.catch(() => {}); // `start` says what is wrong
		if (mine !== this.shown) return;
		if (!id) {
			const asked = new URLSearchParams(location.search).get("model");
			this.useModel(this.models.pick(asked, stored.get("localStorage", "parley:model")));
			this.settings.open(null, baseOf(this.models.chosen ?? {}));
			if (!phone()) this.composer.box.focus();
		} else await this.load(id, mine);
		$("p-start").hidden = Boolean(opened());
	}

	async load(id, mine) {
		try {
			const found = await api.conversation(id);
			if (mine !== this.shown) return;
			this.adopt(found.conversation);
			this.above(found.earlier);
			this.useModel(this.models.pick(this.choice ?? stored.get("sessionStorage", choiceOf(id)), found.conversation.model));
			this.settings.open(id, baseOf(found.conversation));
			this.thread.show(found.messages);
			this.sayWhoReads();
			this.composer.set(this.thread.running ? "stop" : "send");
			await this.showWanted();
		} catch (error) {
			if (mine !== this.shown) return;
			if (error.status === 404) await this.leave(id);
			this.composer.problem(error.message);
		}
	}

	/** Conversation `id` is gone: what was typed there stays, for a new one. */
	async leave(id) {
		const text = document.querySelector(".editing textarea")?.value || this.composer.text;
		this.composer.keep(id, null);
		stored.set("sessionStorage", choiceOf(id), null);
		history.replaceState(null, "", location.pathname + location.search);
		await this.open(null);
		const { text: typed } = this.composer;
		if (text && text !== typed) this.composer.write([text, typed].filter(Boolean).join("\n"));
	}

	/** Conversations were deleted in this tab. */
	removed(ids) {
		if (ids.includes(this.conversation?.id)) this.go(null);
		for (const id of ids) this.tabs.postMessage(id);
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

	/** A turn was taken: where there was no conversation, this is it. */
	begun(conversation) {
		const first = !this.conversation;
		this.choice = null;
		stored.set("sessionStorage", choiceOf(conversation.id), null);
		this.settings.sent(conversation.id, conversation);
		this.adopt(conversation);
		if (this.temporary.on) this.temporary.begun(conversation.id);
		else if (first) history.pushState(null, "", `#c=${encodeURIComponent(conversation.id)}`);
		this.sayWhoReads();
	}

	trim() {
		const first = this.thread.trim();
		if (first) this.above(first);
	}

	/** The message from which on more stands above what is on the page; null: nothing does. */
	above(earlier) {
		this.earlier = earlier;
		$("p-earlier").hidden = !earlier;
	}

	/** Put earlier messages on the page, up to `wanted` where it is given. False: that failed. */
	async showEarlier(wanted) {
		const mine = this.shown;
		try {
			const { messages, earlier } = await api.conversation(this.conversation.id, this.earlier, wanted);
			if (mine !== this.shown) return true;
			this.thread.prepend(messages);
			this.above(earlier);
			return true;
		} catch (error) {
			this.composer.problem(error.message);
			return false;
		}
	}

	choose(model) {
		this.choice = model.name;
		stored.set("localStorage", "parley:model", model.name);
		if (this.asked) stored.set("sessionStorage", choiceOf(this.asked), model.name);
		else forgetAddress("model");
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

	/** The conversation has changed here: the list and other tabs hear of it. */
	changed(conversation) {
		if (this.temporary.on) return;
		this.side.update(conversation);
		this.tabs.postMessage(conversation.id);
	}

	ended(message, problem) {
		this.composer.set("send");
		if (problem) this.composer.problem(problem);
		if (message.state === "deleted") this.readAgain();
		this.watchEngine();
		this.refreshList();
		this.sayWhoReads();
	}

	escape(event) {
		if (event.defaultPrevented || document.querySelector("dialog[open]")) return;
		if (this.settings.isOpen) this.settings.toggle(false);
		else if (document.body.classList.contains("p-side-open")) this.side.toggle(false);
		else if (this.thread.running) this.turns.stop();
	}

	/** Another machine may have gone on with the conversation: the list says so. */
	async lookElsewhere() {
		await this.refreshList();
		const listed = this.side.items.find((item) => item.id === this.conversation?.id);
		// One that is not listed may be old, archived, or gone.
		if (listed?.revision !== this.conversation?.revision) await this.readAgain();
	}

	/** Back at this tab: another one may have gone on with the conversation. */
	async lookAgain() {
		this.sayWhoReads();
		await this.refreshList();
		await this.readAgain();
	}

	async readAgain() {
		const mine = this.shown;
		const busy = () => this.thread.running || this.composer.mode === "busy";
		const id = this.conversation?.id;
		if (!id || this.temporary.on || busy()) return;
		try {
			const found = await api.conversation(id);
			if (mine !== this.shown || busy() || document.querySelector(".editing, .feedback")) return;
			if (found.conversation.revision === this.conversation.revision) return;
			if (this.thread.isShowing(found.messages)) this.adopt(found.conversation);
			else await (this.opening = this.load(found.conversation.id, ++this.shown));
		} catch (error) {
			if (error.status !== 404 || mine !== this.shown) return; // looked at again soon
			await this.leave(id);
			this.composer.problem(GONE);
		}
	}

	watchEngine() {
		this.engine.watch(this.models.chosen, () => Boolean(this.thread.running));
	}
}

/** Where this tab remembers which model was chosen for the next turn of a conversation. */
const choiceOf = (id) => `parley:choice:${id}`;

/** What an address asks for holds until the visitor says otherwise. */
function forgetAddress(name) {
	const asked = new URLSearchParams(location.search);
	if (!asked.has(name)) return;
	asked.delete(name);
	history.replaceState(null, "", `${location.pathname}${asked.size ? `?${asked}` : ""}${location.hash}`);
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
