// The JSON routes of the Privacy page. Tabs with a conversation hear of each change and ask again who reads it.

import { request } from "chat/api.js";
import { language } from "./words.js";

const part = encodeURIComponent;
const changes = new BroadcastChannel("parley-privacy");
const json = async (method, path, body) =>
	(await request(method, `${path}${path.includes("?") ? "&" : "?"}lang=${language}`, body)).json();

let changed = -Infinity;

/** Milliseconds since this page last changed something. */
export const sinceChange = () => Date.now() - changed;

async function change(path, body) {
	const answer = await json("POST", `/api/privacy/${path}`, body);
	told();
	return answer;
}

function told() {
	changes.postMessage("changed");
	changed = Date.now();
}

export const privacy = {
	state: () => json("GET", "/api/privacy/state"),
	grant: (agreed) => change("grant", agreed),
	withdraw: (recipient) => change("withdraw", { recipient }),
	grantApi: (agreed) => change("grant-api", agreed),
	withdrawApi: (recipient) => change("withdraw-api", { recipient }),
	choose: (said) => change("conversation", said),
	preview: (id) => json("GET", `/api/privacy/preview?conversation=${part(id)}`),
	chip: (id) => json("GET", `/api/privacy/chip?conversation=${part(id)}`),
	shared: () => json("GET", "/api/privacy/shared"),
	pause: () => change("pause", {}),
	resume: (unframed) => change("resume", { unframed }),
	remove: (row) => change("remove", { row }),
	close: () => change("close", { close: true }),
	conversations: () => json("GET", "/api/conversations"),
	changed: told,
	async removeAll() {
		const answer = await json("DELETE", "/api/conversations");
		told();
		return answer;
	},
};
