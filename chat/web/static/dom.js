// Small helpers over the DOM. Text goes in as text: the one way to put HTML on the page is `settle` in thread.js.

export const $ = (id) => document.getElementById(id);

/** An element with properties (`class`, `on…`, `aria-…` and other attributes) and children; strings become text nodes. */
export function h(tag, props = {}, ...children) {
	const element = document.createElement(tag);
	for (const [name, value] of Object.entries(props)) {
		if (value === null || value === undefined || value === false) continue;
		if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
		else if (name === "text") element.textContent = value;
		else element.setAttribute(name, value === true ? "" : value);
	}
	element.append(...children.filter((child) => child !== null && child !== undefined && child !== false));
	return element;
}

/** Storage that is full, blocked or absent loses a convenience, never the page. */
export const stored = {
	quiet: false, // nothing of this chat is to be stored
	get(storage, key) {
		try {
			return window[storage].getItem(key);
		} catch {
			return null;
		}
	},
	set(storage, key, value) {
		if (this.quiet && storage === "sessionStorage") return;
		try {
			if (value === null || value === "") window[storage].removeItem(key);
			else window[storage].setItem(key, value);
		} catch {}
	},
	clear(storage) {
		try {
			window[storage].clear();
		} catch {}
	},
};

/** `act(what)`, which a second click does not begin again while it is under way for the same. */
export function once(act) {
	const under = new Map();
	return (what) => {
		const begun = under.get(what) ?? act(what).finally(() => under.delete(what));
		under.set(what, begun);
		return begun;
	};
}

/** Tell screen readers, without moving the focus. */
export function announce(text) {
	const region = $("p-announce");
	region.textContent = "";
	requestAnimationFrame(() => (region.textContent = text));
}

/** Resolves with the element once Gradio has put it on the page. */
export function present(id) {
	return new Promise((resolve) => {
		const look = () => ($(id) ? (watcher.disconnect(), resolve($(id))) : null);
		const watcher = new MutationObserver(look);
		watcher.observe(document.documentElement, { childList: true, subtree: true });
		look();
	});
}

/** Fingers on glass: no Shift to hold, so Enter is a new line and the button sends. */
export const touch = () => matchMedia("(pointer: coarse)").matches;

export const phone = () => matchMedia("(max-width: 52rem)").matches;
