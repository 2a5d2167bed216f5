// Icons drawn for this page: 24 units square, strokes in the colour of the text.

const PATHS = {
	menu: "M4 8h16M4 16h10",
	sliders: "M4 8h7M17 8h3M4 16h3M13 16h7M14 5.5v5M10 13.5v5",
	plus: "M12 5.5v13M5.5 12h13",
	pencil: "M5 19l.8-3.6L15.6 5.6a1.4 1.4 0 0 1 2 0l.8.8a1.4 1.4 0 0 1 0 2L8.6 18.2zM14 7.5l2.5 2.5",
	bin: "M5 7h14M10 7V5h4v2M7 7l.8 12h8.4L17 7M10.5 10.5v5M13.5 10.5v5",
	up: "M12 19V6M6.5 11L12 5.5 17.5 11",
	down: "M12 5v13M6.5 13l5.5 5.5 5.5-5.5",
	stop: "M8 8h8v8H8z",
	close: "M6.5 6.5l11 11M17.5 6.5l-11 11",
	copy: "M9 9h10v10H9zM15 9V5H5v10h4",
	"thumb-up": "M7.5 11v8H5a1 1 0 0 1-1-1v-6a1 1 0 0 1 1-1zM7.5 11l3.6-6.3a1.7 1.7 0 0 1 3 1.5L13.2 10h4.9a1.7 1.7 0 0 1 1.7 2.1l-1.4 5.6a1.7 1.7 0 0 1-1.7 1.3H7.5",
	"thumb-down": "M7.5 13V5H5a1 1 0 0 0-1 1v6a1 1 0 0 0 1 1zM7.5 13l3.6 6.3a1.7 1.7 0 0 0 3-1.5L13.2 14h4.9a1.7 1.7 0 0 0 1.7-2.1l-1.4-5.6A1.7 1.7 0 0 0 16.7 5H7.5",
	done: "M5.5 12.5l4.5 4.5 8.5-10",
	search: "M11 5.5a5.5 5.5 0 1 0 0 11 5.5 5.5 0 0 0 0-11zM15 15l4 4",
	more: "M6 12h.01M12 12h.01M18 12h.01",
	pin: "M9 4.5h6l-.8 6 2.8 3H7l2.8-3zM12 13.5v6",
	box: "M4.5 5.5h15v4h-15zM6 9.5v9h12v-9M10 13h4",
	left: "M14 7l-5 5 5 5",
	right: "M10 7l5 5-5 5",
	temporary: "M4.6 9.2a7.5 7.5 0 0 1 2-2.6M9.6 4.9a7.5 7.5 0 0 1 3.7-.2M16.2 5.9a7.5 7.5 0 0 1 2.2 2.6M19 11.6a7.5 7.5 0 0 1-1 3.5M15.6 17.6a7.5 7.5 0 0 1-3.4.9M9.2 18.5H4.6l1.2-2.7a7.5 7.5 0 0 1-1.7-3.3",
	retry: "M18.5 12a6.5 6.5 0 1 1-2-4.7M18.5 4.5v4h-4",
	chevron: "M8 10.5l4 4 4-4",
	lock: "M7 11h10v8H7zM9 11V8.5a3 3 0 0 1 6 0V11",
	moon: "M18.5 14.5A7.5 7.5 0 0 1 9.5 5.5a7.5 7.5 0 1 0 9 9z",
	sun: "M12 8.5a3.5 3.5 0 1 0 0 7 3.5 3.5 0 0 0 0-7zM12 3v2M12 19v2M3 12h2M19 12h2M5.6 5.6L7 7M17 17l1.4 1.4M5.6 18.4L7 17M17 7l1.4-1.4",
};

export function icon(name) {
	const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
	svg.setAttribute("viewBox", "0 0 24 24");
	svg.setAttribute("class", "icon");
	svg.setAttribute("aria-hidden", "true");
	const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
	path.setAttribute("d", PATHS[name]);
	svg.append(path);
	return svg;
}

/** Fill every `<span data-icon="name">` below an element. */
export function draw(root) {
	for (const place of root.querySelectorAll("[data-icon]")) place.replaceChildren(icon(place.dataset.icon));
}
