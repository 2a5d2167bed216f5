// The question before a yes: the text, what to think of before the first one, the age. No is as near as yes.

import { $, h } from "chat/dom.js";
import { t } from "./words.js";

/** Whether anybody could cover this page, the browser says: below a foreign site it does not show the hidden document. */
export function unframed() {
	return new Promise((resolve) => {
		const frame = h("iframe", { src: `/privacy/unframed?${Date.now()}`, hidden: true, "aria-hidden": "true", tabindex: "-1" });
		frame.onload = () => {
			resolve(frame.contentDocument?.body?.dataset.token ?? null);
			frame.remove();
		};
		document.body.append(frame);
	});
}

const thought = () => $("agree-thought-label").hidden || $("agree-thought").checked;
const own = () => $("agree-own-label").hidden || $("agree-own").checked;
const ready = () => ($("agree-yes").disabled = !($("agree-age").checked && thought() && own()));
const BOXES = ["agree-age", "agree-thought", "agree-own"];

/** Ask, with the policy `text`; `act(agreed)` says yes to the server, `done()` follows. `api`: about what keys send. */
export async function ask(title, text, state, act, done, api = false) {
	const dialog = $("agree");
	$("agree-title").textContent = title;
	$("agree-text").innerHTML = text.html; // Markdown of ours, rendered and sanitised by the server
	for (const box of BOXES) {
		$(box).checked = false;
		$(box).onchange = ready;
	}
	$("agree-sensitive").hidden = $("agree-thought-label").hidden = !state.first;
	$("agree-own-label").hidden = !api;
	$("agree-problem").hidden = true;
	$("agree-yes").disabled = true;
	$("agree-no").onclick = () => dialog.close();
	$("agree-yes").onclick = async () => {
		$("agree-yes").disabled = true;
		try {
			const token = await unframed();
			if (!token) return covered();
			await act({
				policy_version: text.version,
				policy_hash: text.sha256,
				language: text.language,
				age_affirmed: $("agree-age").checked,
				purposes: state.purposes,
				unframed: token,
				...(api ? { own_text: $("agree-own").checked } : {}),
			});
			dialog.close();
			await done();
		} catch (error) {
			problem(error.message);
			ready();
		}
	};
	dialog.showModal();
	$("agree-text").scrollTop = 0;
	if (!(await unframed())) covered();
}

/** Inside another site: nothing is agreed to here, and the way to where it can be. */
function covered() {
	problem(t("framed"), " ", h("a", { href: location.href, target: "_blank", text: t("open_alone") }));
	for (const box of BOXES) $(box).disabled = true;
	$("agree-yes").disabled = true;
}

function problem(...said) {
	$("agree-problem").replaceChildren(...said);
	$("agree-problem").hidden = false;
}
