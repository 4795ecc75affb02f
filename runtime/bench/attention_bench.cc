#include "runtime/bench/attention_bench.h"

#include "runtime/machine/device_table.h"

namespace annulus::runtime {
namespace {

constexpr std::array<int64_t, 3> kLengths = {1024, 2048, 4096};

double ForwardSeconds(const Round& round) { return round.forward_s; }
double BackwardSeconds(const Round& round) { return round.backward_s; }

class AttentionBench {
 public:
  AttentionBench(const BenchOptions& bench, const Progress& progress, const DeviceOptions& device)
      : bench_(bench), progress_(progress), device_(device) {
    if (bench_.n.empty()) bench_.n.assign(kLengths.begin(), kLengths.end());
  }

  AttentionReport Run() {
    for (const int threads : bench_.threads) {
      const auto owned = MakeDeviceTable(device_, {.threads = threads});
      kernels::KernelTable& table = *owned;
      for (const kernels::DType dtype : bench_.dtype) {
        Roof roof(table, dtype, bench_.roof_size);
        for (const int64_t head_dim : bench_.head_dim) {
          for (const BenchMask mask : bench_.mask) {
            for (const int64_t n : bench_.n) {
              Measure({table, threads, roof}, CaseOf(bench_, n, head_dim, dtype, mask));
            }
          }
        }
      }
    }
    CompareWithFull();
    return std::move(report_);
  }

 private:
  struct Machine {
    kernels::KernelTable& table;
    int threads;
    Roof& roof;
  };

  void Measure(const Machine& machine, const AttentionCase& shape) {
    progress_(Describe(shape, machine.threads));
    for (const AttentionMethod method : bench_.implementation) {
      const MakeWorkload make = [&](const WorkloadContext& context) {
        return NewAttention(method, shape, context);
      };
      const std::string problem =
          MemoryProblem(bench_, FootprintOf(make, machine.table), machine.table);
      if (!problem.empty()) {
        report_.skipped.push_back({shape, machine.threads, method, problem});
        continue;
      }
      Contestant contestant(make, machine.table);
      MeasureOne(machine, contestant,
                 {.shape = shape, .threads = machine.threads, .implementation = method});
    }
  }

  void MeasureOne(const Machine& machine, Contestant& contestant, AttentionRow row) {
    const std::array<Contestant*, 1> alone = {&contestant};
    const std::vector<Round> rounds =
        RunRounds(alone, machine.roof, ClockOf(machine.threads), bench_.repetitions).front();
    const double roof_flops = machine.roof.flops();
    const auto forward = static_cast<double>(contestant.workload().forward_flops());
    const auto backward = static_cast<double>(contestant.workload().backward_flops());
    const auto all = static_cast<double>(4 * row.shape.batch * row.shape.heads *
                                         row.shape.head_dim * row.shape.n * row.shape.n);
    row.rounds = bench_.repetitions;
    row.area = forward / all;
    row.speed = Summarise(rounds, ForwardSeconds, forward, roof_flops);
    row.peak_bytes = contestant.footprint().forward_bytes;
    report_.rows.push_back(row);
    row.backward = true;
    row.speed = Summarise(rounds, BackwardSeconds, backward, roof_flops);
    row.peak_bytes = contestant.footprint().backward_bytes;
    report_.rows.push_back(row);
  }

  // The row of the full mask that differs from `row` in nothing else.
  const AttentionRow* FullOf(const AttentionRow& row) const {
    for (const AttentionRow& other : report_.rows) {
      if (other.shape.mask == BenchMask::kFull && other.shape.n == row.shape.n &&
          other.shape.head_dim == row.shape.head_dim && other.shape.dtype == row.shape.dtype &&
          other.threads == row.threads && other.implementation == row.implementation &&
          other.backward == row.backward) {
        return &other;
      }
    }
    return nullptr;
  }

  void CompareWithFull() {
    for (AttentionRow& row : report_.rows) {
      const AttentionRow* full = FullOf(row);
      if (full == nullptr) continue;
      row.time_over_full = row.area * full->speed.roof_ratio / row.speed.roof_ratio;
    }
  }

  BenchOptions bench_;
  const Progress& progress_;
  DeviceOptions device_;
  AttentionReport report_;
};

}  // namespace

AttentionReport RunAttentionBench(const BenchOptions& bench, const Progress& progress,
                                  const DeviceOptions& device) {
  return AttentionBench(bench, progress, device).Run();
}

}  // namespace annulus::runtime
