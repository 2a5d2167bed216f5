// A temporary chat: the server keeps it in memory alone and drops it when this page says that it was closed, or says nothing
// for an hour. While it is on, this page stores nothing of it either.

import { api, request } from "./api.js";
import { $, stored } from "./dom.js";

export const TEMPORARY = "Temporary: not stored anywhere, gone when you close it.";
const HERE_MS = 240_000;

export class Temporary {
	/** `changed()` is called when it was switched. */
	constructor(changed) {
		this.changed = changed;
		this.button = $("p-temporary");
		this.conversation = null;
		this.button.addEventListener("click", () => this.turn(!this.on));
		setInterval(() => this.conversation && this.tell("POST", "/here"), HERE_MS);
		addEventListener("pagehide", () => this.leave());
		this.turn(false, false);
	}

	/** Switch it on or off for the chat that is about to begin. */
	turn(on, tell = true) {
		if (on) for (const kind of ["draft", "settings", "sending"]) stored.set("sessionStorage", `parley:${kind}:new`, null);
		this.on = api.temporary = stored.quiet = on;
		document.body.classList.toggle("p-temporary", on);
		this.button.setAttribute("aria-pressed", String(on));
		if (tell) this.changed();
	}

	/** Only a chat that has not begun can become one. */
	offer(possible) {
		this.button.hidden = !possible && !this.on;
		this.button.disabled = !possible;
	}

	begun(id) {
		this.conversation = id;
		this.offer(false);
	}

	/** It is closed: nothing is left of it. */
	leave() {
		if (this.conversation) this.tell("DELETE", "");
		this.conversation = null;
		if (this.on) this.turn(false, false);
	}

	/** Sent even while the page goes away. Where it does not arrive, silence says the same. */
	async tell(method, what) {
		const path = `/api/temporary/conversations/${encodeURIComponent(this.conversation)}${what}`;
		try {
			await request(method, path, method === "POST" ? {} : undefined, { keepalive: true });
		} catch {}
	}
}
