// Reads a running answer. EventSource cannot send headers, so this is fetch and a reader.

import { place, request } from "./api.js";

const RETRY_MS = [300, 1000, 2000, 4000];
const SILENT_MS = 40_000; // the server says something at least every 15 s

/**
 * Follow an answer until its end and call `on(event)` for every event. A lost connection goes on from the position
 * reached; `on({lost: true})` says that it is being tried. Ends quietly when `signal` is aborted. `log`: how often the
 * answer was gone on with before: positions are those of one log.
 */
export async function follow(answer, on, signal, log = 0) {
	let at = 0;
	let failures = 0;
	while (!signal.aborted) {
		// A connection that slept (a closed lid, a phone in a pocket) may never say that it is dead.
		const silence = new AbortController();
		let timer = null;
		const heard = () => {
			clearTimeout(timer);
			timer = setTimeout(() => silence.abort(), SILENT_MS);
		};
		try {
			const path = place(`/answers/${encodeURIComponent(answer)}/live?at=${at}&log=${log}`);
			heard();
			const either = AbortSignal.any([signal, silence.signal]);
			const response = await request("GET", path, undefined, { signal: either, headers: { Accept: "text/event-stream" } });
			for await (const event of events(response.body, heard)) {
				if (signal.aborted) return;
				failures = 0;
				if (event.at !== undefined) at = event.at;
				on(event);
				if (event.done) return;
			}
		} catch (error) {
			if (signal.aborted) return;
			if ([401, 403, 404].includes(error.status)) return on({ gone: error });
		} finally {
			clearTimeout(timer);
		}
		on({ lost: true });
		await pause(RETRY_MS[Math.min(failures++, RETRY_MS.length - 1)]);
	}
}

/** So many milliseconds, or until the network or the reader is back. */
function pause(ms) {
	return new Promise((resolve) => {
		const over = () => {
			removeEventListener("online", over);
			document.removeEventListener("visibilitychange", over);
			resolve();
		};
		addEventListener("online", over);
		document.addEventListener("visibilitychange", over);
		setTimeout(over, ms);
	});
}

async function* events(body, heard) {
	const reader = body.pipeThrough(new TextDecoderStream()).getReader();
	let buffer = "";
	for (;;) {
		const { value, done } = await reader.read();
		if (done) return;
		heard();
		buffer += value;
		const blocks = buffer.split("\n\n");
		buffer = blocks.pop();
		for (const block of blocks) if (block.startsWith("data: ")) yield JSON.parse(block.slice(6));
	}
}
