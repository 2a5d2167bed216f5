// The colours the visitor chose on the chat page.

import { stored } from "./dom.js";

const own = stored.get("localStorage", "parley:theme");
if (own) document.documentElement.dataset.theme = own;
