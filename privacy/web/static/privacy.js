// The Privacy page: what is agreed, what was shared, and every way back. A switch goes on only after the text was shown and
// agreed to; it goes off at once.

import { $, h } from "chat/dom.js";
import { offerUndo } from "chat/keeping.js";
import { whyNot } from "chat/spoken.js";
import { privacy, sinceChange } from "./api.js";
import { ask, unframed } from "./ask.js";
import { content, drawRows, stays } from "./rows.js";
import { list, t } from "./words.js";

const part = encodeURIComponent;
const asked = new URLSearchParams(location.search).get("conversation");
const MOVING_MS = 3000;
const SETTLING_MS = 60_000; // within which a change shows in the rows
let state = null;
let again = null;

async function load() {
	clearTimeout(again);
	try {
		[state] = await Promise.all([privacy.state(), asked ? showOne() : null]);
		const { rows, waiting } = await privacy.shared();
		drawRecipients();
		drawRows(state.known, rows, waiting, act);
		drawSummary(rows);
		$("close-account").hidden = !state.signed_in;
		// What is on its way is looked at until it has arrived.
		const moving = rows.some((row) => ["publish", "retract"].includes(row.state));
		if (!state.known || sinceChange() < SETTLING_MS || moving) again = setTimeout(load, MOVING_MS);
	} catch (error) {
		$("summary").textContent = error.message;
	}
}

function drawSummary(rows) {
	const shared = state.recipients.filter((recipient) => recipient.sharing).map((recipient) => recipient.name);
	const out = rows.filter((row) => row.sent && row.state !== "retracted");
	const parts = [];
	for (const [key, unread] of [["rows_readable", false], ["rows_nobody_yet", true]]) {
		const theirs = out.filter((row) => state.nobody_in.includes(row.dataset) === unread);
		for (const who of new Set(theirs.map((row) => row.recipient))) parts.push(t(key, { who }, theirs.filter((row) => row.recipient === who).length));
	}
	if (state.paused) parts.push(t("paused"));
	else if (shared.length) parts.push(t("shared_after", { who: list(shared), after: state.after ?? t("soon_after") }));
	const apis = state.recipients.filter((recipient) => recipient.api.sharing).map((recipient) => recipient.name);
	if (apis.length && !state.paused) parts.push(t("api_shared", { who: list(apis) }));
	if (parts.length && hosts()) parts.push(t("hosts_too"));
	if (!state.known) parts.splice(0, parts.length, t("looked_up"));
	if (!parts.length) parts.push(t(hosts() ? "only_you_and_hosts" : "only_you"));
	$("summary").textContent = parts.join(" ");
	$("saving").textContent = whereKept(state.saving);
	$("held-up").hidden = !(state.held_up && state.signed_in);
	$("pause").hidden = !(state.known && (shared.length || apis.length || state.paused));
	$("pause").textContent = t(state.paused ? "go_on" : "pause");
	$("take-back").hidden = !shared.length && !apis.length && !rows.some((row) => ["publish", "published"].includes(row.state));
}

/** What exactly is wrong the operator is told; visitors hear what kind of trouble it is, and what follows for them. */
function whereKept({ state, outlives, where, kind }) {
	const said = t(outlives ? `saving_${state.replace(" ", "_")}` : "saving_folder");
	if (!kind) return said;
	const problem = where === "bucket" ? `${said} ${t("saving_slower")}` : t("saving_problem");
	return `${problem} ${t(`saving_why_${kind}`)}`;
}

const hosts = () => Boolean($("others").textContent.trim());

function drawRecipients() {
	$("reason").hidden = !state.reason;
	$("reason").textContent = state.reason ?? "";
	if (state.sign_in_url) $("reason").append(" ", signInLink());
	$("recipients").replaceChildren(...state.recipients.flatMap((recipient) => [recipientRow(recipient), ...apiRow(recipient)]));
}

/** Hugging Face refuses to be framed, so out of a frame it opens beside it. */
function signInLink() {
	const target = window.top === window.self ? null : "_blank";
	return h("a", { href: `${state.sign_in_url}?next=${part(`/privacy${location.search}`)}`, target, rel: target && "noopener", text: t("sign_in") });
}

function recipientRow(recipient) {
	const id = `recipient-${recipient.name}`;
	const on = recipient.sharing;
	const models = recipient.models.length ? recipient.models.join(", ") : t("no_models");
	const toggle = h("button", {
		type: "button",
		role: "switch",
		"aria-checked": String(on),
		"aria-labelledby": id,
		disabled: !on && (!state.can_share || !recipient.policy),
		onclick: () => (on ? withdraw(recipient.name) : agree(recipient)),
	});
	const says = recipient.state === "ineligible" ? null : h("p", { text: t(`state_${recipient.state}`) });
	return h("li", {}, h("div", { id }, h("strong", { text: recipient.name }), h("p", { text: models }), says), toggle);
}

/** What is sent with API keys is a choice of its own, shown to those who share what they write, or made it. */
function apiRow({ name, sharing, api }) {
	if (!sharing && !api.sharing) return [];
	const id = `api-${name}`;
	const toggle = h("button", {
		type: "button",
		role: "switch",
		"aria-checked": String(api.sharing),
		"aria-labelledby": id,
		"aria-describedby": `recipient-${name}`,
		disabled: !api.sharing && (!state.can_share || !api.policy),
		onclick: () => (api.sharing ? act(() => privacy.withdrawApi(name), `${t("api_taken_back")} ${t("no_recall")}`) : agreeApi(name, api.policy)),
	});
	const says = t(api.sharing ? "api_on" : api.state === "stale" ? "state_stale" : "api_off");
	return [h("li", { class: "too" }, h("div", {}, h("span", { id, text: t("api_too") }), h("p", { text: says })), toggle)];
}

const agreeApi = (name, text) =>
	ask(t("ask_api", { who: name }), text, state, (agreed) => privacy.grantApi({ recipient: name, ...agreed }), load, true);

const agree = (recipient) =>
	ask(t("ask_account", { who: recipient.name }), recipient.policy, state, (agreed) => privacy.grant({ recipient: recipient.name, ...agreed }), load);

async function withdraw(recipient) {
	try {
		const { rows } = await privacy.withdraw(recipient);
		await load();
		$("taken").textContent = rows ? `${t("taken_back", {}, rows)} ${t("no_recall")}` : t("taken_back_none");
	} catch (error) {
		$("taken").textContent = error.message;
	}
}

async function act(change, sentence) {
	try {
		await change();
		await load();
		$("taken").textContent = sentence;
	} catch (error) {
		$("taken").textContent = error.message;
	}
}

// One conversation, when the page was opened from the line under the box.

async function showOne() {
	$("one").hidden = false;
	try {
		const [chip, found] = await Promise.all([privacy.chip(asked), privacy.preview(asked)]);
		// The server speaks of those who were agreed to; a host that answers reads along.
		const alone = chip.sentence === t("chip_only_you");
		if (!hosts()) $("one-says").textContent = chip.sentence;
		else $("one-says").textContent = alone ? t("chip_only_you_and_hosts") : `${chip.sentence} ${t("hosts_too")}`;
		drawChoice(found.choice);
		drawPreview(found);
	} catch (error) {
		$("one-says").textContent = error.message;
		$("one-choice").replaceChildren();
	}
}

function drawChoice(choice) {
	const button = (name, text) =>
		h("button", { type: "button", "aria-pressed": String(choice === name), text, onclick: () => choose(name) });
	const buttons = [button("inherit", t("as_switched")), button("private", t("keep_private"))];
	$("one-choice").replaceChildren(...buttons, h("a", { href: `/#c=${part(asked)}`, text: t("back_to_it") }));
}

async function choose(choice) {
	try {
		await privacy.choose({ id: asked, choice });
		await load();
	} catch (error) {
		$("one-says").textContent = error.message;
	}
}

function drawPreview({ rows, texts }) {
	if (!rows.length) return $("one-rows").replaceChildren(h("p", { class: "by", text: t("nothing_to_share") }));
	const items = rows.map((row) =>
		h(
			"li",
			{},
			h(
				"div",
				{ class: "row-head" },
				h("span", {}, h("b", { text: t("to_whom", { who: row.recipient }) }), ` · ${row.model} · ${row.dataset}`),
				h("button", { type: "button", text: t("share_with", { who: row.recipient }), disabled: !row.messages, onclick: () => share(row, texts) }),
			),
			...(row.messages ? content(row) : [h("p", { class: "reason", text: stays(row) })]),
		),
	);
	$("one-rows").replaceChildren(h("p", { class: "by", text: t("would_share") }), h("ol", {}, ...items));
}

function share(row, texts) {
	if (state && !state.can_share) return ($("one-says").textContent = state.reason);
	ask(
		t("ask_rows", { who: row.recipient }),
		texts[row.recipient],
		state,
		(agreed) => privacy.choose({ id: asked, choice: "share", recipient: row.recipient, answers: row.answers, ...agreed }),
		load,
	);
}

// What is the visitor's own: deleting all of it, closing the account. Each is asked once more on its own button.

/** Returns what makes the button ask anew. */
function twice(id, question, act) {
	const label = $(id).textContent;
	let sure = false;
	$(id).addEventListener("click", async () => {
		if (!sure) {
			sure = true;
			$(id).textContent = question;
			return;
		}
		$(id).disabled = true;
		try {
			await act();
			if (sure) $(id).hidden = true; // unless it is asked anew meanwhile: what was done was taken back
		} catch (error) {
			$("deleted").textContent = error.message;
			$(id).disabled = false;
		}
	});
	$(id).disabled = false; // a click before this would be lost
	return () => {
		sure = $(id).hidden = $(id).disabled = false;
		$(id).textContent = label;
	};
}

const askAnew = twice("delete-all", t("delete_sure"), async () => {
	const { deleted, undo } = await privacy.removeAll().catch((error) => {
		throw new Error(whyNot(error));
	});
	$("deleted").textContent = deleted ? t("deleted", {}, deleted) : t("nothing_kept");
	document.dispatchEvent(new Event("parley:deleted"));
	offerUndo(undo, $("deleted"), () => {
		document.dispatchEvent(new Event("parley:deleted"));
		askAnew();
		privacy.changed();
		load();
	});
	await load();
});

twice("close-account", t("close_sure"), async () => {
	await privacy.close();
	$("delete-all").hidden = true;
	await load();
	$("close-account").hidden = true;
	$("deleted").textContent = t("closed");
});

$("pause").addEventListener("click", () =>
	act(async () => {
		if (!state.paused) return privacy.pause();
		const token = await unframed();
		if (!token) throw new Error(t("framed"));
		return privacy.resume(token);
	}, state.paused ? t("gone_on") : t("paused")),
);

$("download").addEventListener("click", (event) => {
	if (state?.whole !== false) return;
	event.preventDefault();
	$("deleted").textContent = t("not_back_yet");
});

$("take-back").addEventListener("click", () => withdraw(null));

// Whoever switches the language stays with the conversation they came for.
if (asked) for (const link of document.querySelectorAll(".languages a")) link.search += `&conversation=${part(asked)}`;

// Whoever comes from a page without cookies is told before they ask.
try {
	if (!(await privacy.conversations()).items.length) $("deleted").textContent = t("nothing_kept");
} catch {} // the button says what is wrong
await load();
document.documentElement.dataset.privacy = "ready";
