// The form with which anybody reports a row or a link.

import { request } from "chat/api.js";
import { $ } from "chat/dom.js";
import { language } from "./words.js";

// A link to this page may name the row: /takedown?row=...
$("about").value = new URLSearchParams(location.search).get("row") ?? "";

$("report").addEventListener("submit", async (event) => {
	event.preventDefault();
	const button = event.target.querySelector("button");
	button.disabled = true;
	try {
		const said = { about: $("about").value, reason: $("reason").value, contact: $("contact").value };
		const answer = await request("POST", `/api/takedown?lang=${language}`, said);
		$("told").textContent = (await answer.json()).sentence;
		event.target.hidden = true;
	} catch (error) {
		$("told").textContent = error.message;
		button.disabled = false;
	}
});

document.documentElement.dataset.privacy = "ready";
