// The page's words: the server puts those of the visitor's language into the page.

import { $ } from "chat/dom.js";

const table = JSON.parse($("words").textContent);
export const language = document.documentElement.lang;
const plural = new Intl.PluralRules(language);
const number = new Intl.NumberFormat(language);

/** What can be replaced in a text. */
export const kinds = Object.keys(table.kind);

/** A sentence; `n` decides its form where it has several. */
export function t(key, values = {}, n = 0) {
	let found = table[key];
	if (typeof found === "object") found = found[plural.select(n)] ?? Object.values(found).at(-1);
	return found.replace(/\{(\w+)\}/g, (_, name) => (name === "n" ? number.format(n) : values[name]));
}

export const list = (names) => (names.length > 1 ? t("and", { all: names.slice(0, -1).join(", "), last: names.at(-1) }) : names[0]);

export const day = (seconds) => new Date(seconds * 1000).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" });
