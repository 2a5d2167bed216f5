// "My shared data": every row as it left or would leave, its state, its receipt, and the way back.

import { $, h } from "chat/dom.js";
import { privacy } from "./api.js";
import { day, kinds, t } from "./words.js";

const PLACEHOLDER = new RegExp(`(\\[(?:${kinds.join("|")})_\\d+\\])`);
const first = (messages) => messages[0].content.slice(0, 80) || "…";
const text = (row) => (row.messages ? h("details", {}, h("summary", { text: first(row.messages) }), ...content(row)) : null);
const marked = (text) => text.split(PLACEHOLDER).map((piece, index) => (index % 2 ? h("mark", { text: piece }) : piece));
const part = (heading, ...pieces) => h("div", { class: "said", dir: "auto" }, h("b", { text: heading }), ...pieces);

/** All of a row as it leaves: the messages, what was said about the answers, and what else stands in it. */
export const content = ({ messages, feedback, rest }) => [
	...messages.map((message) => part(t(message.role === "user" ? "what_you_wrote" : "what_it_wrote"), ...marked(message.content))),
	...feedback.map(({ answer, rating, reasons, comment }) =>
		part(t(`rated_${rating}`, {}, answer), reasons.map((reason) => t(`reason_${reason}`)).join(", "), comment ? " – " : "", ...marked(comment ?? "")),
	),
	h("details", {}, h("summary", { text: t("row_rest") }), h("pre", { text: JSON.stringify(rest, null, 1) })),
];

/** Why a row stays here; null: it does not. */
export const stays = (row) => (row.kept_back ? t(`kept_${row.kept_back}`) : null);

/** What is known of a row: one that nobody saw in the dataset was stopped, and may not have been there. */
const howFar = ({ state, published_at }) => (published_at ? state : ({ retract: "stopped", retracted: "not_there" }[state] ?? state));

/** `act(change, sentence)` makes the change and says the sentence. */
export function drawRows(known, rows, waiting, act) {
	if (!known) return $("rows").replaceChildren(h("li", { text: t("rows_looked_up") }));
	if (!rows.length && !waiting.length) return $("rows").replaceChildren(h("li", { text: t("no_rows") }));
	$("rows").replaceChildren(...waiting.map((row) => waitingRow(row, act)), ...rows.map((row) => sharedRow(row, act)));
}

function waitingRow(row, act) {
	const keep = () => act(() => privacy.choose({ id: row.conversation, choice: "private" }), t("kept_private"));
	return h(
		"li",
		{ "data-state": "waiting" },
		h(
			"div",
			{ class: "row-head" },
			h("span", {}, h("b", { text: row.recipient }), ` · ${stays(row) ?? t("row_waiting", { when: day(row.when) })}`),
			h("button", { type: "button", class: "danger", text: t("keep_private"), "aria-label": t("keep_private_from", { who: row.recipient }), onclick: keep }),
		),
		text(row),
	);
}

function sharedRow(row, act) {
	const takeBack = () => act(() => privacy.remove(row.row), row.sent ? `${t("taken_back_row")} ${t("no_recall")}` : t("kept_private"));
	const leaves = ["publish", "published"].includes(row.state);
	const button = { type: "button", class: "danger", text: t("take_back"), "aria-label": t("take_back_from", { who: row.recipient }), onclick: takeBack };
	return h(
		"li",
		{ "data-row": row.row, "data-state": row.state },
		h("div", { class: "row-head" }, h("span", {}, h("b", { text: row.recipient }), ` · ${stays(row) ?? t(`row_${howFar(row)}`)}`), leaves ? h("button", button) : null),
		row.reported ? h("p", { class: "by", text: t(`reported_${row.reported}`) }) : null,
		text(row),
		h("details", { class: "receipt" }, h("summary", { text: receipt(row, 12).join(", ") }), h("pre", { text: receipt(row).join("\n") })),
	);
}

/** Which row, where, under which consent, since when; the names of all these whole, or their first `length` characters. */
function receipt(row, length) {
	const short = (name) => name.slice(0, length);
	const commit = (sha) => (sha ? ` (${t("row_commit", { commit: short(sha) })})` : "");
	const parts = [t("row_name", { row: short(row.row), dataset: row.dataset }), t("row_hash", { hash: short(row.hash) })];
	if (!length) parts.push(t("row_consent", { hash: row.consent_hash }));
	if (row.published_at) parts.push(t("row_in", { when: day(row.published_at) }) + commit(row.published_in));
	if (row.retracted_at) parts.push(t("row_out", { when: day(row.retracted_at) }) + commit(row.retracted_in));
	return parts;
}
