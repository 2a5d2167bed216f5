// The list of conversations: the pinned ones, then by date; the archive; several at once; and the way back from deleting.

import { api } from "./api.js";
import { $, announce, h, once, phone } from "./dom.js";
import { icon } from "./icons.js";
import { RowMenu } from "./rowmenu.js";
import { toast } from "./toast.js";

const DAY = 86_400_000;

export class Side {
	/** `on.removed(ids)`, `on.undone()`, `on.restored(id)`, `on.renamed(conversation)` and `on.problem(sentence)` are called. */
	constructor(on) {
		this.on = on;
		this.items = [];
		this.next = null;
		this.current = null;
		this.archived = false; // which of the two lists is shown
		this.picked = null; // ids, while several are picked
		this.read = false; // whether the server has said what stands in it
		this.leaving = new Set(); // ids that are being deleted
		this.list = $("p-conversations");
		this.panel = $("p-nav");
		this.menu = new RowMenu();
		$("p-menu").addEventListener("click", () => this.toggle(true));
		$("p-shade").addEventListener("click", () => this.toggle(false));
		const more = once(() => this.more());
		$("p-more").addEventListener("click", () => more(this.next));
		$("p-archive").addEventListener("click", () => this.switchTo(!this.archived));
		$("p-pick").addEventListener("click", () => this.pick(this.picked ? null : []));
		$("p-pick-all").addEventListener("click", () => this.pick(this.items.map((item) => item.id)));
		$("p-pick-archive").addEventListener("click", () => this.archiveSome([...this.picked], !this.archived));
		$("p-pick-delete").addEventListener("click", () => this.remove([...this.picked]));
		this.list.addEventListener("keydown", (event) => event.key === "Escape" && this.picked && (event.preventDefault(), this.pick(null)));
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
		const archived = this.archived;
		const { items, next } = await api.conversations(null, archived);
		if (archived !== this.archived) return;
		const known = new Set(items.map((item) => item.id));
		const last = items.at(-1);
		// Pages that were loaded before stay, but for what has moved up.
		const older = next && this.items.length > items.length ? this.items.filter((item) => !known.has(item.id) && inOrder(last, item) < 0) : [];
		if (!older.length) this.next = next;
		this.items = [...items, ...older];
		this.read = true;
		if (this.drawn !== this.state) this.draw();
		const open = this.items.find((item) => item.id === this.current);
		if (open) this.on.renamed(open);
	}

	async more() {
		try {
			const { items, next } = await api.conversations(this.next, this.archived);
			const known = new Set(this.items.map((item) => item.id));
			this.items.push(...items.filter((item) => !known.has(item.id)));
			this.next = next;
		} catch (error) {
			this.on.problem(error.message);
		}
		this.draw();
	}

	async switchTo(archived) {
		this.archived = archived;
		this.items = [];
		this.next = null;
		this.read = false;
		this.pick(null);
		try {
			await this.refresh();
		} catch (error) {
			this.on.problem(error.message);
		}
	}

	/** A conversation that is new or has changed. */
	update(conversation) {
		this.items = this.items.filter((item) => item.id !== conversation.id);
		if (Boolean(conversation.archived) === this.archived) this.items.push(conversation);
		this.items.sort(inOrder);
		this.draw();
	}

	select(id) {
		this.current = id;
		this.draw();
	}

	/** Whether something is being written that the list will tell of: an answer, or a title. */
	get anyRunning() {
		return this.items.some((item) => item.running || item.titling);
	}

	/** Begin to pick several, with these picked; null: end it. */
	pick(ids) {
		this.picked = ids && new Set(ids);
		this.draw();
		if (this.picked) this.list.querySelector("input[type=checkbox]")?.focus({ preventScroll: true });
	}

	/** All that a drawing of the list depends on and that others can change. */
	get state() {
		return JSON.stringify([this.items, this.next, this.read, new Date().toDateString()]);
	}

	draw() {
		if (this.list.querySelector("input[type=text]")) return; // a name is being written
		this.drawn = this.state;
		const at = document.activeElement?.closest?.("[data-conversation]");
		const focused = at && [at.dataset.conversation, document.activeElement.className];
		const groups = [];
		const names = namesOfDays();
		for (const item of this.items) {
			const name = item.pinned ? "Pinned" : names(item.updated_at * 1000);
			if (groups.at(-1)?.name !== name) groups.push({ name, rows: [] });
			groups.at(-1).rows.push(this.row(item));
		}
		this.list.replaceChildren(...groups.map(({ name, rows }) => h("section", {}, h("h2", { text: name }), h("ul", {}, ...rows))));
		if (!groups.length && this.read) {
			const text = this.archived ? "What you archive is kept here, out of the way." : "Your conversations will be listed here.";
			this.list.append(h("p", { class: "empty", text }));
		}
		$("p-more").hidden = !this.next;
		$("p-archive").textContent = this.archived ? "Back to the list" : "Archive";
		$("p-archive-head").hidden = !this.archived;
		$("p-pick").hidden = !this.items.length && !this.picked;
		$("p-pick").textContent = this.picked ? "Cancel" : "Select";
		this.drawPicked();
		if (focused) this.focusOn(...focused);
	}

	drawPicked() {
		$("p-picked").hidden = !this.picked;
		const count = this.picked?.size ?? 0;
		const rest = this.next && this.items.length && this.items.every((item) => this.picked?.has(item.id));
		$("p-picked-count").textContent = rest ? `${count} selected; older ones are not shown, and not selected` : `${count} selected`;
		$("p-pick-delete").disabled = $("p-pick-archive").disabled = !count;
		$("p-pick-archive").textContent = this.archived ? "Unarchive" : "Archive";
	}

	focusOn(id, kind) {
		const row = this.list.querySelector(`[data-conversation="${CSS.escape(id)}"]`);
		(row?.querySelector(kind ? `.${kind.split(" ").join(".")}` : "a, input") ?? row?.querySelector("a, input"))?.focus({ preventScroll: true });
	}

	row(item) {
		const current = item.id === this.current;
		const attributes = { "data-conversation": item.id, class: current ? "current" : null };
		if (this.picked) {
			const box = h("input", { type: "checkbox", checked: this.picked.has(item.id) });
			box.addEventListener("change", () => {
				if (box.checked) this.picked.add(item.id);
				else this.picked.delete(item.id);
				this.drawPicked();
			});
			return h("li", attributes, h("label", { title: item.title }, box, h("span", { dir: "auto", text: item.title })));
		}
		const open = h("a", { href: `#c=${encodeURIComponent(item.id)}`, "aria-current": current ? "page" : null, dir: "auto", title: item.title, text: item.title });
		open.addEventListener("click", () => phone() && this.toggle(false));
		const button = (name, label, act, more = {}) =>
			h("button", { class: `bare ${name}`, type: "button", "aria-label": `${label}: ${item.title}`, title: label, onclick: act, ...more }, icon(name));
		return h(
			"li",
			attributes,
			item.pinned ? h("span", { class: "pinned", title: "Pinned" }, icon("pin")) : null,
			open,
			item.running ? h("span", { class: "pulse", title: "An answer is being written" }) : null,
			button("more", "More", (event) => this.menu.open(event.currentTarget, this.choices(item)), { "aria-haspopup": "menu" }),
			button("pencil", "Rename", () => this.rename(item)),
			button("bin", "Delete", () => this.remove([item.id])),
		);
	}

	choices(item) {
		return [
			{ icon: "pin", label: item.pinned ? "Unpin" : "Pin", act: () => this.change(item, { pinned: !item.pinned }) },
			{ icon: "box", label: item.archived ? "Unarchive" : "Archive", act: () => this.archiveSome([item.id], !item.archived) },
			{ icon: "done", label: "Select several", act: () => this.pick([item.id]) },
		];
	}

	async change(item, change) {
		try {
			const { conversation } = await api.change(item.id, change);
			this.update(conversation);
			return conversation;
		} catch (error) {
			this.on.problem(error.message);
		}
	}

	async archiveSome(ids, archived) {
		const moved = [];
		for (const item of this.items.filter((item) => ids.includes(item.id))) {
			if (await this.change(item, { archived })) moved.push(item);
		}
		this.pick(null);
		if (!moved.length) return;
		const which = moved.length === 1 ? "1 conversation" : `${moved.length} conversations`;
		toast(`${which} ${archived ? "archived" : "back in the list"}.`, "Undo", async () => {
			for (const item of moved) await this.change(item, { archived: !archived });
		});
		await this.looked();
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
					const { conversation } = await api.change(item.id, { title });
					Object.assign(item, conversation);
					this.on.renamed(conversation);
				} catch (error) {
					this.on.problem(error.message);
				}
			}
			this.draw();
			this.focusOn(item.id, "pencil");
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

	/** Delete at once; for some seconds there is a way back. */
	async remove(chosen) {
		const ids = chosen.filter((id) => !this.leaving.has(id)); // clicked twice
		if (!ids.length) return;
		for (const id of ids) this.leaving.add(id);
		const rows = [...this.list.querySelectorAll("[data-conversation]")];
		const following = rows.slice(rows.findIndex((row) => ids.includes(row.dataset.conversation))).find((row) => !ids.includes(row.dataset.conversation));
		let told;
		try {
			told = ids.length === 1 ? await api.remove(ids[0]) : await api.removeSome(ids);
		} catch (error) {
			return this.on.problem(error.message);
		} finally {
			for (const id of ids) this.leaving.delete(id);
		}
		this.items = this.items.filter((item) => !ids.includes(item.id));
		this.picked = null;
		this.draw();
		this.focusOn(following?.dataset.conversation ?? "", "");
		const open = ids.includes(this.current) ? this.current : null;
		this.on.removed(ids);
		const sentence = told.deleted === 1 ? "1 conversation deleted." : `${told.deleted} conversations deleted.`;
		toast(sentence, told.undo && "Undo", () => this.undo(told.undo.id, open), told.undo?.seconds);
		await this.looked();
	}

	async undo(deletion, open) {
		try {
			await api.undo(deletion);
			announce("Back in the list");
			this.on.undone();
			await this.refresh();
			if (open) this.on.restored(open);
		} catch (error) {
			this.on.problem(error.status === 404 ? "It is too late to undo this: what was deleted is gone." : error.message);
		}
	}

	/** Fill up a page that has become short. */
	async looked() {
		try {
			await this.refresh();
		} catch {} // the list is looked at again soon
	}
}

/** The order of the list: the pinned first, then the newest. */
function inOrder(one, other) {
	return Number(other.pinned ?? false) - Number(one.pinned ?? false) || other.updated_at - one.updated_at || (one.id < other.id ? 1 : -1);
}

/** What the days are called, for one drawing of the list: the day may change until the next. */
function namesOfDays() {
	const today = new Date().setHours(0, 0, 0, 0);
	const month = new Intl.DateTimeFormat("en", { month: "long", year: "numeric" });
	return (time) => {
		if (time >= today) return "Today";
		if (time >= today - DAY) return "Yesterday";
		if (time >= today - 7 * DAY) return "Previous 7 days";
		if (time >= today - 30 * DAY) return "Previous 30 days";
		return month.format(time);
	};
}
