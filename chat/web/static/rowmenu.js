// The small menu of a row in the list. A native popover: the browser closes it on Escape and on a click elsewhere.

import { $, h } from "./dom.js";
import { icon } from "./icons.js";

export class RowMenu {
	constructor() {
		this.menu = $("p-row-menu");
		this.menu.addEventListener("keydown", (event) => this.move(event));
		this.menu.addEventListener("toggle", (event) => {
			if (event.newState === "closed") this.button?.setAttribute("aria-expanded", "false");
		});
	}

	/** Show `choices` ({icon, label, act}) beside the button that was pressed. */
	open(button, choices) {
		this.button = button;
		button.setAttribute("aria-expanded", "true");
		const item = ({ icon: name, label, act }) => {
			const choose = () => (this.menu.hidePopover(), act());
			return h("button", { type: "button", role: "menuitem", onclick: choose }, icon(name), h("span", { text: label }));
		};
		this.menu.replaceChildren(...choices.map(item));
		this.menu.showPopover();
		const { left, right, top, bottom } = button.getBoundingClientRect();
		const { width, height } = this.menu.getBoundingClientRect();
		const rightToLeft = getComputedStyle(button).direction === "rtl";
		const x = rightToLeft ? left : right - width;
		this.menu.style.left = `${Math.max(8, Math.min(x, innerWidth - width - 8))}px`;
		this.menu.style.top = `${bottom + height + 8 > innerHeight ? top - height : bottom}px`;
		this.menu.firstElementChild.focus();
	}

	move(event) {
		const items = [...this.menu.children];
		const at = items.indexOf(document.activeElement);
		const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
		if (event.key === "Escape") event.stopPropagation(); // closes the menu, and nothing else
		if (event.key === "Tab") this.menu.hidePopover();
		if (to === undefined) return;
		event.preventDefault();
		items.at(to % items.length).focus();
	}
}
