// The JSON routes. A browser that gives no cookie back is known by a value that lives in this tab's memory only.

const OFFLINE = "The server cannot be reached. Check your connection and try again; your text is kept.";
const SILENT = "The server does not answer. Try again in a moment; your text is kept.";
const AGAIN_MS = 700;
export const PATIENCE_MS = 30_000; // until a server that has not begun to answer is taken for one that is gone
let session = null;

export class Problem extends Error {
	constructor(code, sentence, status) {
		super(sentence);
		this.code = code;
		this.status = status;
	}
}

/** The raw answer to a request, or a `Problem` with one sentence for people. `options.patience`: how long it is awaited. */
export async function request(method, path, body, options = {}) {
	const headers = { Accept: "application/json", ...options.headers };
	if (method !== "GET") headers["X-Parley"] = "1";
	if (body !== undefined) headers["Content-Type"] = "application/json";
	if (options.session ?? session) headers["X-Parley-Session"] = options.session ?? session;
	const silence = new AbortController();
	const timer = options.patience && setTimeout(() => silence.abort(), options.patience);
	let response;
	try {
		response = await fetch(path, {
			method,
			headers,
			body: body === undefined ? undefined : JSON.stringify(body),
			credentials: "same-origin",
			cache: "no-store",
			signal: AbortSignal.any([silence.signal, ...(options.signal ? [options.signal] : [])]),
			keepalive: options.keepalive,
		});
	} catch (error) {
		if (options.signal?.aborted) throw error;
		throw new Problem("offline", silence.signal.aborted ? SILENT : OFFLINE, 0);
	} finally {
		clearTimeout(timer);
	}
	session = response.headers.get("X-Parley-Session") || session;
	if (!response.ok) throw await problem(response);
	return response;
}

async function problem(response) {
	try {
		const { error } = await response.json();
		return new Problem(error.code, error.message, response.status);
	} catch {
		const sentence = `The server answered with an error (${response.status}). Try again in a moment; your text is kept.`;
		return new Problem("error", sentence, response.status);
	}
}

/** Whoever comes for the first time has no cookie to show yet, so one "no" means nothing; the second means it is blocked. */
async function whoAmI() {
	let me = await json("GET", "/api/me");
	if (!me.cookie && !session) me = await json("GET", "/api/me");
	if (!me.cookie && !session) me = await json("GET", "/api/me", undefined, { session: "new" });
	return me;
}

const json = async (method, path, body, options = {}) => (await request(method, path, body, { patience: PATIENCE_MS, ...options })).json();
const part = encodeURIComponent;

/** Once more where no answer came: only for what may be sent twice. */
async function again(send) {
	try {
		return await send();
	} catch (error) {
		if (error.status !== 0) throw error;
		await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
		return send();
	}
}

/** The part of an address after the question mark, of what is given. */
function asked(values) {
	const given = Object.entries(values).filter(([, value]) => value);
	return given.length ? `?${new URLSearchParams(given)}` : "";
}

/** The address of a route of turns: a temporary chat has its own. */
export const place = (path) => `/api${api.temporary ? "/temporary" : ""}${path}`;

export const api = {
	temporary: false,
	me: whoAmI,
	models: () => json("GET", "/api/models"),
	status: (model) => json("GET", `/api/status?model=${part(model)}`),
	conversations: (before, archived) => json("GET", `/api/conversations${asked({ before, archived })}`),
	conversation: (id, before, until) => json("GET", place(`/conversations/${part(id)}${asked({ before, until })}`)),
	send: (turn) => again(() => json("POST", place("/turns"), turn)),
	retry: (answer, how) => json("POST", place(`/answers/${part(answer)}/retry`), how),
	goOn: (answer) => json("POST", place(`/answers/${part(answer)}/continue`), {}),
	step: (message) => json("POST", place(`/messages/${part(message)}/choose`), {}),
	stop: (answer) => json("POST", place(`/answers/${part(answer)}/stop`), {}),
	rate: (answer, feedback) => json("PUT", `/api/answers/${part(answer)}/feedback`, feedback),
	unrate: (answer) => json("DELETE", `/api/answers/${part(answer)}/feedback`),
	defaults: () => json("GET", "/api/defaults"),
	useAsDefault: (model, params, system_prompt) => json("PUT", "/api/defaults", { model, params, system_prompt }),
	forgetDefault: (model) => json("DELETE", `/api/defaults?model=${part(model)}`),
	change: (id, change) => json("PATCH", `/api/conversations/${part(id)}`, change),
	remove: (id) => json("DELETE", `/api/conversations/${part(id)}`),
	removeSome: (ids) => json("POST", "/api/conversations/delete", { ids }),
	undo: (deletion) => json("POST", `/api/deletions/${part(deletion)}/undo`, {}),
	search: (query, before, signal) => json("POST", "/api/search", { query, before }, { signal }),
	retention: () => json("GET", "/api/retention"),
	keepFor: (days) => json("PUT", "/api/retention", { days }),
	removeAll: () => json("DELETE", "/api/conversations"),
	claim: () => json("POST", "/api/offers/claim", {}),
	decline: () => json("POST", "/api/offers/decline", {}),
	signOut: () => request("POST", "/logout", {}),
};
