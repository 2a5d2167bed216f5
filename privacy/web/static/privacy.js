// The Privacy page: what is agreed, what was shared, and every way back. A switch goes on only after the text was shown and
// agreed to; it goes off at once.

import { api, request } from "chat/api.js";
import { $, h } from "chat/dom.js";

const json = async (...args) => (await request(...args)).json();
const part = encodeURIComponent;
const changes = new BroadcastChannel("parley-privacy"); // tabs with a conversation ask again who reads it
const change = async (path, body) => {
	const answer = await json("POST", `/api/privacy/${path}`, body);
	changes.postMessage("changed");
	changed = Date.now();
	return answer;
};
const privacy = {
	state: () => json("GET", "/api/privacy/state"),
	grant: (agreed) => change("grant", agreed),
	withdraw: (recipient) => change("withdraw", { recipient }),
	choose: (said) => change("conversation", said),
	preview: (id) => json("GET", `/api/privacy/preview?conversation=${part(id)}`),
	chip: (id) => json("GET", `/api/privacy/chip?conversation=${part(id)}`),
	shared: () => json("GET", "/api/privacy/shared"),
	remove: (row) => change("remove", { row }),
};
const STATES = {
	publish: "on its way to the dataset",
	published: "in the dataset",
	retract: "being taken back",
	retracted: "taken back, out of the history too",
	quarantined: "kept here: something in it could not be replaced safely",
};
const ACCOUNT = {
	unset: "Off: you have not said yes.",
	granted: "Shared: what you write to these models from now on.",
	denied: "You said no.",
	withdrawn: "You took it back.",
	stale: "The text has changed: nothing new leaves until you agree again.",
	blocked: "Your organisation decides, and it has not allowed it.",
	ineligible: "",
	unknown: "Being looked up.",
};
const PLACEHOLDER = /(\[[A-Z_]+_\d+\])/;
const asked = new URLSearchParams(location.search).get("conversation");
const MOVING_MS = 3000;
const SETTLING_MS = 60_000; // within which a change shows in the rows
let changed = -Infinity;
let state = null;
let again = null;

async function load() {
	clearTimeout(again);
	try {
		[state] = await Promise.all([privacy.state(), asked ? showOne() : null]);
		const { rows, waiting } = await privacy.shared();
		drawRecipients();
		drawRows(rows, waiting);
		drawSummary(rows);
		// What is on its way is looked at until it has arrived.
		if (!state.known || Date.now() - changed < SETTLING_MS || rows.some((row) => ["publish", "retract"].includes(row.state))) again = setTimeout(load, MOVING_MS);
	} catch (error) {
		$("summary").textContent = error.message;
	}
}

function drawSummary(rows) {
	const shared = state.recipients.filter((recipient) => recipient.sharing).map((recipient) => recipient.name);
	const out = rows.filter((row) => ["publish", "published", "retract"].includes(row.state));
	const readers = [...new Set(out.map((row) => row.recipient))];
	const parts = [];
	if (readers.length) parts.push(`${list(readers)} can read ${out.length === 1 ? "1 row" : `${out.length} rows`} of yours.`);
	if (shared.length) parts.push(`What you write to the models of ${list(shared)} is shared with them, ${state.quiet ? `${state.quiet} after` : "soon after"} the conversation last changed.`);
	if (!state.known) parts.splice(0, parts.length, "Who can read your conversations is being looked up; until that is done nothing new is shared.");
	if (!parts.length) parts.push(`Only you can read your conversations${others()}.`);
	$("summary").textContent = parts.join(" ");
	$("saving").textContent = state.saving.sentence ?? "";
	$("take-back").hidden = !shared.length && !out.some((row) => row.state !== "retract");
}

function drawRecipients() {
	$("reason").hidden = !state.reason;
	$("reason").textContent = state.reason ?? "";
	if (state.reason && !state.signed_in) $("reason").append(" ", h("a", { href: `/login?next=${part("/privacy")}`, text: "Sign in" }));
	$("recipients").replaceChildren(...state.recipients.map(recipientRow));
}

function recipientRow(recipient) {
	const id = `recipient-${recipient.name}`;
	const on = recipient.sharing;
	const models = recipient.models.length ? recipient.models.join(", ") : "no model of theirs is offered any more";
	const toggle = h("button", {
		type: "button",
		role: "switch",
		"aria-checked": String(on),
		"aria-labelledby": id,
		disabled: !on && (!state.can_share || !recipient.policy),
		onclick: () => (on ? withdraw(recipient.name) : agree(recipient)),
	});
	const says = ACCOUNT[recipient.state];
	return h("li", {}, h("div", { id }, h("strong", { text: recipient.name }), h("p", { text: models }), says ? h("p", { text: says }) : null), toggle);
}

/** Ask: the text, the age, a yes. Resolves once it is decided. */
function ask(title, text, act) {
	const dialog = $("agree");
	$("agree-title").textContent = title;
	$("agree-text").innerHTML = text.html; // Markdown of ours, rendered and sanitised by the server
	$("agree-age").checked = false;
	$("agree-yes").disabled = true;
	$("agree-problem").hidden = true;
	$("agree-age").onchange = () => ($("agree-yes").disabled = !$("agree-age").checked);
	$("agree-no").onclick = () => dialog.close();
	$("agree-yes").onclick = async () => {
		$("agree-yes").disabled = true;
		try {
			await act({ policy_version: text.version, policy_hash: text.sha256, age_affirmed: $("agree-age").checked, purposes: state.purposes });
			dialog.close();
			await load();
		} catch (error) {
			$("agree-problem").textContent = error.message;
			$("agree-problem").hidden = false;
			$("agree-yes").disabled = false;
		}
	};
	dialog.showModal();
	$("agree-text").scrollTop = 0;
}

const agree = (recipient) =>
	ask(`Share with ${recipient.name}?`, recipient.policy, (agreed) => privacy.grant({ recipient: recipient.name, ...agreed }));

async function withdraw(recipient) {
	await told(async () => {
		const { rows } = await privacy.withdraw(recipient);
		await load();
		return rows ? `Taken back. ${rows === 1 ? "1 row leaves" : `${rows} rows leave`} the datasets and their history now.` : "Taken back. Nothing had left.";
	});
}

async function told(act) {
	try {
		$("taken").textContent = await act();
	} catch (error) {
		$("taken").textContent = error.message;
	}
}

function drawRows(rows, waiting) {
	if (!state.known) return $("rows").replaceChildren(h("li", { text: "What was shared is being looked up." }));
	if (!rows.length && !waiting.length) return $("rows").replaceChildren(h("li", { text: "Nothing of yours has left, and nothing is about to." }));
	$("rows").replaceChildren(
		...waiting.map((row) =>
			h(
				"li",
				{ "data-state": "waiting" },
				h(
					"div",
					{ class: "row-head" },
					h("span", {}, h("b", { text: row.recipient }), ` · still here, leaves on ${day(row.when)} at the earliest`),
					h("button", { type: "button", class: "danger", text: "Keep private", "aria-label": `Keep this from ${row.recipient}`, onclick: () => keep(row) }),
				),
				text(row),
			),
		),
		...rows.map((row) => {
			const leaves = ["publish", "published", "quarantined"].includes(row.state);
			const remove = leaves && row.state !== "quarantined" ? h("button", { type: "button", class: "danger", text: "Take back", "aria-label": `Take back this row from ${row.recipient}`, onclick: () => takeBack(row) }) : null;
			return h(
				"li",
				{ "data-row": row.row, "data-state": row.state },
				h("div", { class: "row-head" }, h("span", {}, h("b", { text: row.recipient }), ` · ${STATES[row.state]}`), remove),
				text(row),
				h("div", { class: "receipt", text: receipt(row) }),
			);
		}),
	);
}

const text = (row) =>
	row.messages ? h("details", {}, h("summary", { text: first(row.messages) }), ...row.messages.map(said)) : null;

function keep(row) {
	return told(async () => {
		await privacy.choose({ id: row.conversation, choice: "private" });
		await load();
		return "Its conversation stays private.";
	});
}

function takeBack(row) {
	return told(async () => {
		await privacy.remove(row.row);
		await load();
		return "Taken back. The row leaves the dataset and its history now; its conversation stays private.";
	});
}

function receipt(row) {
	const parts = [`Row ${row.row.slice(0, 12)} of ${row.dataset}`];
	if (row.published_at) parts.push(`in since ${day(row.published_at)}${commit(row.published_in)}`);
	if (row.retracted_at) parts.push(`out since ${day(row.retracted_at)}${commit(row.retracted_in)}`);
	return parts.join(", ");
}

const day = (seconds) => new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
const commit = (sha) => (sha ? ` (commit ${sha.slice(0, 12)})` : "");
const first = (messages) => messages[0].content.slice(0, 80) || "…";
const others = () => ($("others").textContent ? ", and where a model runs elsewhere, the host that answers" : "");
const list = (names) => (names.length > 1 ? `${names.slice(0, -1).join(", ")} and ${names.at(-1)}` : names[0]);

function said(message) {
	const text = message.content.split(PLACEHOLDER).map((piece, index) => (index % 2 ? h("mark", { text: piece }) : piece));
	return h("div", { class: "said", dir: "auto" }, h("b", { text: message.role === "user" ? "You" : "The model" }), ...text);
}

// One conversation, when the page was opened from the line under the box.

async function showOne() {
	$("one").hidden = false;
	try {
		const [chip, found] = await Promise.all([privacy.chip(asked), privacy.preview(asked)]);
		// The server speaks of those who were agreed to; a host that answers reads along.
		$("one-says").textContent = chip.sentence.replace(/(only you( can read this conversation)?)\./i, (_, only) => `${only}${others()}.`);
		drawChoice(found.choice, chip);
		drawPreview(found);
	} catch (error) {
		$("one-says").textContent = error.message;
		$("one-choice").replaceChildren();
	}
}

function drawChoice(choice, chip) {
	const button = (name, text) =>
		h("button", { type: "button", "aria-pressed": String(choice === name), text, onclick: () => choose(name) });
	const buttons = [button("inherit", "As switched below"), button("private", "Keep private")];
	$("one-choice").replaceChildren(...buttons, h("a", { href: `/#c=${part(asked)}`, text: "Back to it" }));
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
	if (!rows.length) return $("one-rows").replaceChildren(h("p", { class: "by", text: "There is nothing in it that could be shared and is not." }));
	const items = rows.map((row) =>
		h(
			"li",
			{},
			h(
				"div",
				{ class: "row-head" },
				h("span", {}, "To ", h("b", { text: row.recipient }), ` · ${row.model}`),
				h("button", { type: "button", text: `Share this with ${row.recipient}`, disabled: !row.messages, onclick: () => share(row, texts) }),
			),
			...(row.messages ? row.messages.map(said) : [h("p", { class: "reason", text: "Something in it could not be replaced safely: it stays here." })]),
		),
	);
	$("one-rows").replaceChildren(h("p", { class: "by", text: "What a yes for this conversation would share, exactly as it would leave:" }), h("ol", {}, ...items));
}

function share(row, texts) {
	if (state && !state.can_share) return ($("one-says").textContent = state.reason);
	ask(`Share these rows with ${row.recipient}?`, texts[row.recipient], (agreed) =>
		privacy.choose({ id: asked, choice: "share", recipient: row.recipient, answers: row.answers, ...agreed }),
	);
}

$("take-back").addEventListener("click", () => withdraw(null));
document.addEventListener("parley:deleted", load);

await load();
document.documentElement.dataset.privacy = "ready";
