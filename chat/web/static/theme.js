// Light or dark: the system's choice until the visitor makes their own. Gradio's widgets follow the class "dark".

import { $, stored } from "./dom.js";
import { icon } from "./icons.js";

const system = matchMedia("(prefers-color-scheme: dark)");

export function theme() {
	const button = $("p-theme");
	const apply = () => {
		const own = stored.get("localStorage", "parley:theme");
		const dark = own ? own === "dark" : system.matches;
		document.documentElement.dataset.theme = dark ? "dark" : "light";
		document.body.classList.toggle("dark", dark);
		button.replaceChildren(icon(dark ? "sun" : "moon"));
		button.setAttribute("aria-label", dark ? "Light colours" : "Dark colours");
		button.title = button.getAttribute("aria-label");
	};
	button.addEventListener("click", () => {
		const dark = document.documentElement.dataset.theme === "dark";
		// The system's own choice is not remembered as the visitor's.
		stored.set("localStorage", "parley:theme", dark === system.matches ? (dark ? "light" : "dark") : null);
		apply();
	});
	system.addEventListener("change", () => setTimeout(apply));
	apply();
}
