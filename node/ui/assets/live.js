// What pages do beyond their HTML, all of it optional: the jobs of a library as they go on, and a button that copies
// code. Nothing is stored, and nothing is sent but the request for the same page as a stream of events.

const jobs = document.querySelector("[data-live]");
if (jobs && window.EventSource) {
  const events = new EventSource(jobs.dataset.live);
  events.addEventListener("jobs", (event) => {
    // Rendered by the node from the same template as the page itself.
    jobs.innerHTML = event.data;
  });
  events.addEventListener("done", () => {
    events.close();
    window.location.reload();
  });
}

for (const pre of document.querySelectorAll("pre")) {
  const head = pre.previousElementSibling;
  if (!navigator.clipboard || !head || !head.classList.contains("code-head")) continue;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "quiet";
  button.textContent = "Copy";
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(pre.textContent);
    button.textContent = "Copied";
  });
  head.append(button);
}
