#include "runtime/report/console.h"

#include <cstdio>

#include "runtime/io/format.h"

namespace annulus::runtime {
namespace {

void Print(const std::string& text) {
  fmt::print("{}", text);
  std::fflush(stdout);  // a pipe or a log file must not hide progress
}

}  // namespace

std::string StartUpTable(const std::vector<StartUpRow>& rows,
                         const std::vector<kernels::KernelChoice>& kernels,
                         const std::vector<RankDevice>& devices) {
  std::string text;
  for (const StartUpRow& row : rows) text += fmt::format("{:<16}{}\n", row.what, row.value);
  for (const kernels::KernelChoice& choice : kernels) {
    text += fmt::format("{:<16}{} ({})\n", choice.work, choice.kernel, choice.reason);
  }
  TextTable map({{"rank", Align::kRight},
                 {"data", Align::kRight},
                 {"context", Align::kRight},
                 {"host", Align::kLeft},
                 {"device", Align::kLeft}});
  for (const RankDevice& d : devices) {
    map.AddRow({std::to_string(d.rank), std::to_string(d.data_index),
                std::to_string(d.context_rank), d.host, d.device});
  }
  return text + "\n" + map.ToString();
}

std::string StepLine(const StepReport& r, const std::vector<std::string>& hosts) {
  const std::string total = std::to_string(r.total_steps);
  std::string straggler;
  if (r.slowest.factor >= kStragglerFactor) {
    straggler = fmt::format("  rank {} ({}) {:.1f}x", r.slowest.rank,
                            hosts.at(static_cast<size_t>(r.slowest.rank)), r.slowest.factor);
  }
  return fmt::format(
      "step {:>{}}/{}  n {:>6}  loss {:7.4f}  |g| {:8.3g}  lr {:.2e}  {:>12}  exposed {:5.1f}%  "
      "mfu {:4.1f}%  left {}{}\n",
      r.step, total.size(), total, r.length, r.loss, r.grad_norm, r.learning_rate,
      FormatRate(r.tokens_per_s, "tok/s"), 100 * r.comm_exposed_ms / r.step_ms, 100 * r.mfu,
      r.remaining_s > 0 ? FormatDuration(r.remaining_s) : "0 s", straggler);
}

void ConsoleObserver::OnStep(const StepReport& report) {
  setup_.directory.AppendStep(report);
  const bool shown =
      report.step % setup_.log_every == 0 || report.step == 1 || report.step == report.total_steps;
  if (shown) Print(StepLine(report, setup_.hosts));
}

void ConsoleObserver::OnEvaluation(int64_t step, const EvaluationReport& report) {
  setup_.directory.AppendEvaluation(step, report, setup_.is_task);
  Print(fmt::format("held out after step {}: loss {:.4f}{} ({} sequences of {} tokens)\n", step,
                    report.loss,
                    setup_.is_task ? fmt::format(", on the task {:.4f}", report.task_loss) : "",
                    FormatCount(report.sequences), FormatCount(report.length)));
}

std::string SummaryText(const RunSummary& summary) {
  const TrainReport& train = summary.train;
  std::string text;
  const EvaluationReport& held_out = train.held_out;
  if (held_out.sequences > 0) {
    text += fmt::format("held-out loss    {:.4f} nats over {} targets\n", held_out.loss,
                        FormatCount(held_out.targets));
    if (summary.is_task) {
      text +=
          fmt::format("task loss        {:.4f} nats, on the positions the task makes solvable\n",
                      held_out.task_loss);
    } else {
      text += fmt::format(
          "baselines        unigram {:.4f}, bigram {:.4f}: entropies of the same targets\n",
          summary.unigram_nats, summary.bigram_nats);
    }
    TextTable table({{"positions", Align::kRight}, {"loss", Align::kRight}});
    for (const PositionLoss& bucket : held_out.by_position) {
      table.AddRow(
          {fmt::format("{}-{}", bucket.from, bucket.to - 1), fmt::format("{:.4f}", bucket.loss)});
    }
    text += table.ToString();
  }
  text += fmt::format("trained on       {} tokens in {}, {}; {} in all\n",
                      FormatCount(train.tokens), FormatDuration(train.train_s),
                      FormatRate(train.tokens_per_s(), "tok/s"), FormatDuration(summary.wall_s));
  return text;
}

}  // namespace annulus::runtime
