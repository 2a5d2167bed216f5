// The colours the visitor chose on the chat page; and, where conversations are deleted, how long they are kept and what
// was deleted lately.

import { stored } from "./dom.js";

const own = stored.get("localStorage", "parley:theme");
if (own) document.documentElement.dataset.theme = own;

if (document.getElementById("delete-all")) {
	await import("./keeping.js");
	await import("./deletions.js");
}
