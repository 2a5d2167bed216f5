// A turn on its way from the box to its answer, and what becomes of one that stands there: edited, written anew, gone on
// with, stopped, or another version of it shown.

import { api } from "./api.js";
import { $, once } from "./dom.js";
import { toast } from "./toast.js";
import { newKey } from "./versions.js";

export class Turns {
	constructor(page) {
		this.page = page;
		this.waiting = new Set(); // conversations into which something is sent once they are open
		this.retry = once((id) => this.writeAnew(id));
		this.goOn = once((id) => this.continue(id));
	}

	/** What a turn carries beside its text. */
	get how() {
		const { conversation, models, settings } = this.page;
		return {
			conversation: conversation?.id ?? null,
			model: models.chosen?.name ?? null,
			params: settings.params,
			system_prompt: settings.systemPrompt,
		};
	}

	/** Send what is in the box: to the conversation that is shown, or is about to be. */
	async send() {
		const { page } = this;
		const { composer, thread } = page;
		if (!(await this.opened()) || thread.running) return;
		const taken = composer.take();
		const key = composer.keyOf(taken.text);
		const mine = page.shown;
		composer.problem(null);
		$("p-start").hidden = true;
		const pending = `pending-${Date.now()}`;
		thread.add({ id: pending, role: "user", text: taken.text });
		page.trim();
		try {
			const turn = await api.send({ ...this.how, text: taken.text, key });
			composer.sent(taken, turn.conversation.id);
			page.changed(turn.conversation);
			if (mine === page.shown) this.accepted(turn, pending);
		} catch (error) {
			composer.giveBack(taken, error.message);
			if (mine !== page.shown) return;
			thread.find(pending)?.remove();
			composer.set("send");
			$("p-start").hidden = Boolean(page.conversation);
		}
	}

	/** Whether the conversation that was asked for is open, and there is something to send; what could not be opened is tried once more. */
	async opened() {
		const { page, waiting } = this;
		const { asked, composer } = page;
		if (waiting.has(asked)) return false;
		waiting.add(asked);
		composer.set("busy");
		await page.opening;
		if (asked && asked === page.asked && !page.conversation) await page.open(asked);
		waiting.delete(asked);
		const ready = asked === page.asked && (!asked || page.conversation) && composer.text.trim();
		if (!ready && composer.mode === "busy") composer.set("send");
		return ready;
	}

	accepted({ conversation, prompt, answer }, pending) {
		const { page } = this;
		const { thread } = page;
		page.begun(conversation);
		// Sent again after its answer was lost, it may stand here already.
		if (pending !== prompt.id && thread.find(prompt.id)) thread.find(pending)?.remove();
		else {
			thread.replace(pending, prompt);
			thread.add(answer);
		}
		this.read(answer);
	}

	/** Follow an answer, if it is still being written. */
	read(answer) {
		const { composer, engine, thread } = this.page;
		if (answer.state !== "running") return composer.set("send");
		if (thread.running?.id !== answer.id) thread.follow(answer);
		composer.set("stop");
		engine.hide();
	}

	/** Send another version of a prompt. Returns a sentence where that failed. */
	async edit(message, text) {
		const { page } = this;
		const mine = page.shown;
		if (this.edited?.text !== text || this.edited.of !== message.id) this.edited = { text, of: message.id, key: newKey() };
		try {
			const turn = await api.send({ ...this.how, text, beside: message.id, key: this.edited.key });
			page.changed(turn.conversation);
			if (mine !== page.shown) return null;
			page.thread.cut(message.id);
			page.thread.add(turn.prompt);
			this.accepted(turn, turn.prompt.id);
			return null;
		} catch (error) {
			return error.message;
		}
	}

	/** Do something with what stands here; where that fails, say why above the box. An answer that was begun elsewhere is shown. */
	async try(act) {
		const { composer } = this.page;
		composer.problem(null);
		try {
			await act();
		} catch (error) {
			if (error.code !== "answer_running") return composer.problem(error.message);
			toast(error.message);
			await this.page.lookAgain();
		}
	}

	/** Show another version of a message, with what stood below it. */
	step(id, from) {
		const { page } = this;
		const mine = page.shown;
		const back = document.activeElement?.classList.contains("left") ? "left" : "right";
		return this.try(async () => {
			const { conversation, messages, earlier } = await api.step(id);
			page.changed(conversation);
			if (mine !== page.shown) return;
			page.adopt(conversation);
			if (!page.thread.branch(from, id, messages)) {
				page.thread.show(messages);
				page.above(earlier);
			}
			const arrows = [...(page.thread.find(id)?.querySelectorAll(".versions button:not(:disabled)") ?? [])];
			(arrows.find((arrow) => arrow.classList.contains(back)) ?? arrows[0])?.focus({ preventScroll: true });
			page.sayWhoReads();
		});
	}

	/** Have a cut-off answer go on. */
	continue(id) {
		const { page } = this;
		const mine = page.shown;
		return this.try(async () => {
			const { conversation, answer } = await api.goOn(id);
			page.changed(conversation);
			if (mine !== page.shown) return;
			page.adopt(conversation);
			page.thread.resume(answer);
			page.composer.set("stop");
			page.composer.box.focus();
		});
	}

	writeAnew(id) {
		const { page } = this;
		const mine = page.shown;
		return this.try(async () => {
			const how = { model: page.models.chosen?.name ?? null, params: page.settings.params };
			const { conversation, answer } = await api.retry(id, how);
			page.changed(conversation);
			if (mine !== page.shown) return;
			page.adopt(conversation);
			page.thread.cut(id);
			page.thread.add(answer);
			this.read(answer);
			page.composer.box.focus();
		});
	}

	async stop() {
		const { composer, thread } = this.page;
		if (!thread.running) return;
		try {
			const { answer } = await api.stop(thread.running.id);
			thread.end(answer);
		} catch (error) {
			composer.problem(error.message);
		}
	}
}
