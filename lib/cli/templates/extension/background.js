// Opens the page in a tab. A service worker can't start workers, so the engine lives in a page.
chrome.action.onClicked.addListener(() => chrome.tabs.create({ url: "index.html" }));
