// Who is asking: the sign-in link, the offer to keep this browser's conversations, and what to say without cookies.

import { api } from "./api.js";
import { $, h, stored } from "./dom.js";

const NO_COOKIE = "This conversation ends with the tab: your browser blocks our cookie here. ";

export class Account {
	/** `on.moved()` is awaited when conversations came or went; `on.problem(sentence)` when something failed. */
	constructor(on) {
		this.on = on;
		this.signedIn = false;
	}

	async load() {
		this.draw(await api.me());
	}

	draw(me) {
		const framed = window.top !== window.self;
		const place = $("p-account");
		this.signedIn = me.signed_in;
		if (me.signed_in) {
			const leave = h("button", { class: "link", type: "button", text: "Sign out", onclick: () => this.signOut() });
			place.replaceChildren(h("span", { class: "me", text: me.name ?? "Signed in" }), leave);
		} else if (me.sign_in_url) {
			place.replaceChildren(h("a", { href: me.sign_in_url, target: framed ? "_blank" : null, rel: framed ? "noopener" : null, text: "Sign in" }));
		} else place.replaceChildren();
		const bars = [];
		if (!me.cookie) bars.push(bar(NO_COOKIE, h("a", { href: location.href, target: "_blank", rel: "noopener", text: "Open in a full page" })));
		if (me.offer?.conversations) bars.push(this.offer(me.offer.conversations));
		$("p-bars").replaceChildren(...bars);
		if (!me.cookie) for (const link of document.querySelectorAll("#parley a[href^='/']")) besides(link);
	}

	offer(count) {
		const question = count === 1 ? "Keep the conversation from this browser?" : `Keep the ${count} conversations from this browser?`;
		const button = (text, act, kind) => h("button", { class: kind, type: "button", text, onclick: () => this.answer(act) });
		return bar(question, button("Keep", api.claim, "plain strong"), button("No, thanks", api.decline, "plain"));
	}

	async answer(act) {
		try {
			await act();
			await this.load();
			await this.on.moved();
		} catch (error) {
			this.on.problem(error.message);
		}
	}

	async signOut() {
		try {
			await api.signOut();
		} catch (error) {
			return this.on.problem(error.message);
		}
		stored.clear("sessionStorage");
		location.assign("/");
	}
}

/** A link that leaves the page would take the session in its memory along: it opens beside it. */
function besides(link) {
	link.target = "_blank";
	link.rel = "noopener";
}

const bar = (text, ...actions) => h("div", { class: "bar", role: "region", "aria-label": "Notice" }, h("span", { text }), ...actions);
