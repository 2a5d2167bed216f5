// One sentence at the foot of the page about what was just done, with a way back while there is one.

import { $, h } from "./dom.js";

const SHOWN_SECONDS = 6;
let timer = null;

/** Show `sentence` for so many seconds; `action` names what `act` does, null: nothing can be done. */
export function toast(sentence, action = null, act = null, seconds = SHOWN_SECONDS) {
	const place = $("p-toast");
	const close = () => {
		clearTimeout(timer);
		place.hidden = true;
	};
	const button = action && h("button", { class: "link", type: "button", text: action, onclick: () => (close(), act()) });
	place.replaceChildren(h("span", { text: sentence }), ...(button ? [button] : []));
	place.hidden = false;
	clearTimeout(timer);
	// A little less than the server waits: what is offered can still be done.
	timer = setTimeout(close, Math.max(1, seconds - 0.5) * 1000);
}
