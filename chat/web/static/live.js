// Reads a running answer. EventSource cannot send headers, so this is fetch and a reader.

import { request } from "./api.js";

const RETRY_MS = [300, 1000, 2000, 4000];

/**
 * Follow an answer until its end and call `on(event)` for every event. A lost connection goes on from the position
 * reached; `on({lost: true})` says that it is being tried. Ends quietly when `signal` is aborted.
 */
export async function follow(answer, on, signal) {
	let at = 0;
	let failures = 0;
	while (!signal.aborted) {
		try {
			const path = `/api/answers/${encodeURIComponent(answer)}/live?at=${at}`;
			const response = await request("GET", path, undefined, { signal, headers: { Accept: "text/event-stream" } });
			for await (const event of events(response.body)) {
				if (signal.aborted) return;
				failures = 0;
				if (event.at !== undefined) at = event.at;
				on(event);
				if (event.done) return;
			}
		} catch (error) {
			if (error.name === "AbortError") return;
			if ([401, 403, 404].includes(error.status)) return on({ gone: error });
		}
		on({ lost: true });
		await new Promise((resolve) => setTimeout(resolve, RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]));
	}
}

async function* events(body) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let buffer = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return;
		buffer += value;
		const blocks = buffer.split("\n\n");
		buffer = blocks.pop();
		for (const block of blocks) if (block.startsWith("data: ")) yield JSON.parse(block.slice(6));
	}
}
