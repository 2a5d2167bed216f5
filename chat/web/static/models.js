// The model picker: the dialog "Models" and the card of the chosen model.

import { api } from "./api.js";
import { $, h } from "./dom.js";
import { closable } from "./dialogs.js";
import { icon } from "./icons.js";

const SEARCH_FROM = 7; // entries
const READERS = "Only you can read this conversation.";

export class Models {
	/** `on.chosen(model)` is called for a choice made by the visitor. */
	constructor(on) {
		this.on = on;
		this.all = [];
		this.chosen = null;
		this.dialog = $("p-models");
		closable(this.dialog);
		$("p-model").addEventListener("click", () => this.open());
		$("p-models-filter").addEventListener("input", () => this.draw());
	}

	async load() {
		const [{ models }, { defaults }] = await Promise.all([api.models(), api.defaults()]);
		this.all = models.map((model) => ({ ...model, own: defaults[model.name] ?? null }));
		if (this.dialog.open) this.list();
	}

	get(name) {
		return this.all.find((model) => model.name === name);
	}

	label(name) {
		return this.get(name)?.label ?? name ?? "The model";
	}

	/** The other hosts that read a conversation that `model` answers next and models with these names answered before,
	 *  and the sentence that names them. */
	readers(model, names) {
		const before = new Set(names.map((name) => this.get(name)?.answered_by).filter(Boolean));
		const now = model?.answered_by;
		before.delete(now);
		const hosts = [...(now ? [now] : []), ...before];
		if (!hosts.length) return { alone: READERS, hosts };
		const earlier = before.size ? `${[...before].join(" and ")}, which answered before` : null;
		return { alone: `Only you, and ${[now && `${now}, which answers`, earlier].filter(Boolean).join(", and ")}.`, hosts };
	}

	/** The first of the names that can be chosen, else the catalogue's own default. */
	pick(...names) {
		const usable = (model) => model?.available;
		return names.map((name) => this.get(name)).find(usable) ?? this.all.find((model) => model.default) ?? this.all.find(usable) ?? null;
	}

	show(model) {
		this.chosen = model;
		$("p-model-name").textContent = model?.label ?? "No model";
		$("p-start-card").replaceChildren(...(model ? [card(model, () => this.open())] : []));
	}

	open() {
		$("p-models-filter").value = "";
		this.list();
		this.dialog.showModal();
		this.dialog.querySelector('[aria-pressed="true"]')?.focus();
	}

	list() {
		$("p-models-filter").hidden = this.all.length < SEARCH_FROM;
		this.draw();
	}

	draw() {
		const words = $("p-models-filter").value.toLowerCase().split(/\s+/);
		const text = (model) => [model.label, model.name, model.author, model.description, ...Object.values(model.categories ?? {}).flat()].join(" ").toLowerCase();
		const shown = this.all.filter((model) => words.every((word) => text(model).includes(word)));
		$("p-models-list").replaceChildren(...shown.map((model) => this.entry(model)));
		if (this.all.length && !shown.length) $("p-models-list").append(h("li", { class: "empty", text: "No model fits these words." }));
	}

	entry(model) {
		const chosen = model === this.chosen;
		const button = h(
			"button",
			{ type: "button", class: "choose", "aria-pressed": String(chosen), "aria-disabled": model.available ? null : "true" },
			h("span", { class: "name" }, model.label, chosen ? icon("done") : null),
			h("span", { class: "by", text: facts(model) }),
			h("span", { class: "about", text: model.description }),
			model.available ? null : h("span", { class: "reason", text: model.reason ?? "Not available here." }),
		);
		button.addEventListener("click", () => {
			if (!model.available) return;
			this.dialog.close();
			this.on.chosen(model);
		});
		return h("li", { class: model.available ? null : "unavailable" }, button, links(model));
	}
}

function facts(model) {
	const memory = model.memory_gib ? `${Number(model.memory_gib.toPrecision(2))} GiB` : null;
	const context = model.context ? `${model.context.toLocaleString("en")} tokens` : null;
	const host = model.answered_by ? `answered by ${model.answered_by}` : null;
	return [model.author, memory, context, model.licence, host].filter(Boolean).join(" · ");
}

function links(model) {
	const link = (text, address) => (/^https?:/.test(address ?? "") ? h("a", { href: address, target: "_blank", rel: "noopener noreferrer", text }) : null);
	return h("span", { class: "links" }, link("Model card", model.card_url), link("Website", model.website));
}

/** The chosen model, as the start of a new conversation shows it. */
function card(model, change) {
	return h(
		"div",
		{ class: "card" },
		h("div", { class: "name" }, h("strong", { text: model.label }), h("button", { class: "change", type: "button", text: "Change", onclick: change })),
		h("p", { class: "by", text: facts(model) }),
		h("p", { class: "about", text: model.description }),
		links(model),
	);
}
