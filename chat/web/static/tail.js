// The unsettled end of a running answer, given shape line by line with text nodes only. It is a sketch of what the server
// will send: near enough that nothing jumps when the settled block takes its place.

import { h } from "./dom.js";

export class Tail {
	constructor() {
		this.element = h("div", { class: "tail" });
		this.reset("");
	}

	reset(text) {
		this.undo = null;
		this.element.replaceChildren();
		this.block = null;
		this.list = null;
		this.fence = null;
		this.open = "";
		this.append(text);
	}

	/** Complete lines are laid out once; only the line that is being written is laid out again. */
	append(text) {
		this.open += text;
		const lines = this.open.split("\n");
		this.open = lines.pop();
		for (const line of lines) this.line(line);
		this.undo?.();
		this.undo = null;
		if (this.open) this.sketch(this.open);
	}

	sketch(line) {
		const { block, fence, list } = this;
		const ends = [];
		for (let node = this.element; node; node = node.lastElementChild) ends.push([node, node.lastChild]);
		this.line(line);
		this.undo = () => {
			for (const [node, last] of ends) while (node.lastChild !== last) node.lastChild.remove();
			Object.assign(this, { block, fence, list });
		};
	}

	line(line) {
		this.undo?.();
		this.undo = null;
		if (this.fence) return this.codeLine(line);
		const fence = /^\s*(`{3,}|~{3,})([^`]*)$/.exec(line);
		if (fence) {
			this.fence = fence[1];
			const box = h("div", { class: "code", "data-lang": fence[2].trim().split(" ")[0] });
			this.block = h("code");
			box.append(h("pre", { dir: "ltr" }, this.block));
			this.element.append(box);
			return;
		}
		if (!line.trim()) return void (this.block = null);
		const heading = /^(#{1,6})\s+(.*)$/.exec(line);
		const item = /^(\s*)([-*+]|\d{1,9}[.)])\s+(.*)$/.exec(line);
		if (item) return this.item(item);
		if (this.list && !this.block && /^\s/.test(line)) return this.goOn(line);
		if (!this.block) this.list = null;
		if (heading) this.start(`h${Math.min(heading[1].length + 2, 6)}`, heading[2]);
		else if (line.startsWith("|")) this.row(line);
		else if (line.startsWith(">")) this.inside("blockquote", line.replace(/^>\s?/, ""));
		else if (/^(-{3,}|\*{3,}|_{3,})\s*$/.test(line)) this.element.append(h("hr"));
		else if (this.block && this.block.tagName !== "TABLE") this.block.append(h("br"), ...inline(line.trimStart()));
		else this.start("p", line.trimStart());
	}

	start(tag, text) {
		const block = h(tag, { dir: "auto" }, ...inline(text));
		this.element.append(block);
		this.list = null;
		this.block = tag === "p" ? block : null;
	}

	inside(tag, text) {
		if (this.block?.dataset.in === tag) return void this.block.append(h("br"), ...inline(text));
		this.block = h("p", { dir: "auto", "data-in": tag }, ...inline(text));
		this.element.append(h(tag, {}, this.block));
	}

	/** All items of a list, nested ones too, are items of one list here; only their indentation tells them apart. */
	item([, indent, marker, text]) {
		const tag = /\d/.test(marker) ? "ol" : "ul";
		const depth = Math.min(Math.floor(indent.replaceAll("\t", "    ").length / 2), 5);
		if (!this.list || (!depth && this.list.tagName.toLowerCase() !== tag)) {
			this.list = h(tag, { dir: "auto" });
			this.element.append(this.list);
		}
		this.block = h("li", { dir: "auto", value: tag === "ol" ? parseInt(marker, 10) : null }, ...inline(text));
		if (depth) {
			this.block.style.marginInlineStart = `${depth * 1.5}rem`;
			this.block.style.listStyleType = tag === "ol" ? "decimal" : "circle";
		}
		this.list.append(this.block);
	}

	/** Another paragraph of the last item. */
	goOn(line) {
		this.block = h("p", { dir: "auto" }, ...inline(line.trim()));
		this.list.lastElementChild.append(this.block);
	}

	row(line) {
		if (/^[|\s:-]+$/.test(line)) return;
		const first = this.block?.tagName !== "TABLE";
		if (first) {
			this.block = h("table");
			this.element.append(h("div", { class: "table" }, this.block));
		}
		const cells = line.replace(/^\||\|\s*$/g, "").split("|");
		this.block.append(h("tr", {}, ...cells.map((cell) => h(first ? "th" : "td", {}, ...inline(cell.trim())))));
	}

	codeLine(line) {
		const text = line.trim();
		if (text.startsWith(this.fence) && !text.replaceAll(this.fence[0], "")) {
			this.fence = null;
			this.block = null;
		} else this.block.append(line + "\n");
	}
}

/** **strong**, *em*, `code` and links as nodes; an unfinished mark stays text. */
function inline(text) {
	const nodes = [];
	const marks = /`([^`]+)`|\*\*([^*]+)\*\*|\*([^*\s][^*]*)\*|\[([^\]]+)\]\([^)\s]+\)/g;
	let end = 0;
	for (const found of text.matchAll(marks)) {
		if (found.index > end) nodes.push(text.slice(end, found.index));
		if (found[1] !== undefined) nodes.push(h("code", { text: found[1] }));
		else if (found[2] !== undefined) nodes.push(h("strong", { text: found[2] }));
		else if (found[3] !== undefined) nodes.push(h("em", { text: found[3] }));
		else nodes.push(h("a", { text: found[4] }));
		end = found.index + found[0].length;
	}
	if (end < text.length) nodes.push(text.slice(end));
	return nodes;
}
