#include "parallel/mpi_communicator.h"

#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <limits>
#include <numeric>
#include <thread>

#include "kernels/base/error.h"
#include "parallel/message_communicator.h"
#include "parallel/mpi_call.h"
#include "parallel/mpi_loan.h"
#include "parallel/mpi_messages.h"
#include "parallel/mpi_window.h"

namespace annulus::parallel {
namespace {

using Clock = std::chrono::steady_clock;

std::string AnyRank() { return "a rank"; }

// "Open MPI 4.1.4" of "Open MPI v4.1.4, package: ...",
// "MPICH 4.0.2" of "MPICH Version:\t4.0.2\n...".
std::string ShortName(std::string_view text) {
  const size_t name = std::min(text.find(" v"), text.find(" Version"));
  const size_t number = text.find_first_of("0123456789", name);
  if (number == text.npos) return std::string(text.substr(0, text.find('\n')));
  const size_t end = text.find_first_of(", \t\n", number);
  return fmt::format("{} {}", text.substr(0, name), text.substr(number, end - number));
}

volatile std::sig_atomic_t g_exit_status = 0;

// Ends every process of the job, this one first. MPI_Abort asks the launcher to do so and waits for
// its answer; on a node that is cut off from the launcher MPICH 4.0.2 was seen to wait for ever.
[[noreturn]] void EndJob(int exit_status) noexcept {
  constexpr unsigned kPatienceSeconds = 5;
  g_exit_status = exit_status;
  std::signal(SIGALRM, [](int) { std::_Exit(g_exit_status); });
  alarm(kPatienceSeconds);
  MPI_Abort(MPI_COMM_WORLD, exit_status);
  std::_Exit(exit_status);
}

// Owns a communicator of MPI. Freeing one is collective, so a rank that failed leaves it be.
class OwnedComm {
 public:
  OwnedComm(MPI_Comm comm, std::shared_ptr<const Workbench> workbench)
      : comm_(comm), workbench_(std::move(workbench)) {}
  ~OwnedComm() {
    if (!workbench_->failed && !Unwinding()) MPI_Comm_free(&comm_);
  }
  OwnedComm(const OwnedComm&) = delete;
  OwnedComm& operator=(const OwnedComm&) = delete;

  MPI_Comm get() const { return comm_; }

 private:
  MPI_Comm comm_;
  const std::shared_ptr<const Workbench> workbench_;
};

class MpiCommunicator final : public MessageCommunicator {
 public:
  MpiCommunicator(MPI_Comm comm, int64_t piece_bytes, std::shared_ptr<MpiMemory> memory,
                  Group group)
      : MessageCommunicator(std::move(group)),
        comm_(comm, this->group().workbench),
        piece_bytes_(piece_bytes),
        memory_(std::move(memory)) {}

  std::string Name() const override { return fmt::format("MPI ({})", MpiLibrary()); }

  // Named after the first of their ranks.
  std::vector<int> FindMemoryNodes() override {
    Barrier();
    MPI_Comm node = MPI_COMM_NULL;
    CheckHere(MPI_Comm_split_type(comm_.get(), MPI_COMM_TYPE_SHARED, rank(), MPI_INFO_NULL, &node),
              "MPI_Comm_split_type");
    const double first[] = {static_cast<double>(RanksOf(node).front())};
    MPI_Comm_free(&node);
    std::vector<int> nodes;
    for (const double of : AllGather(first)) nodes.push_back(static_cast<int>(of));
    return nodes;
  }

  double SharedRoomBytes() const override {
    struct statvfs room {};
    if (statvfs(kSharedMemoryPlace, &room) != 0) return 0;
    return static_cast<double>(room.f_bavail) * static_cast<double>(room.f_frsize);
  }

 protected:
  std::unique_ptr<InFlight> Post(const Messages& messages, std::string_view what) override {
    auto in_flight = std::make_unique<MpiInFlight>(RouteOfThis(), what);
    in_flight->Start(messages);
    return in_flight;
  }

  std::unique_ptr<InFlight> PostLoan(const Outgoing& block, std::string_view what) override {
    return std::make_unique<MpiLent>(RouteOfThis(), window(), block, what);
  }

  std::unique_ptr<InLoan> PostBorrow(const Incoming& block, std::string_view what) override {
    return std::make_unique<MpiLoan>(RouteOfThis(), window(), block, what);
  }

  std::unique_ptr<SharedRegion> DoReserveShared(int64_t bytes) override {
    const std::vector<int> nodes = MemoryNodes();
    Barrier();
    MPI_Comm node = MPI_COMM_NULL;
    CheckHere(MPI_Comm_split(comm_.get(), nodes[static_cast<size_t>(rank())], rank(), &node),
              "MPI_Comm_split");
    std::vector<int> members = RanksOf(node);
    if (members.size() == 1) {
      MPI_Comm_free(&node);
      return nullptr;
    }
    for (int& member : members) member = WorldRank(member);
    return MpiWindow::Reserve(node, members, bytes, memory_);
  }

  // MPI moves large messages only inside its calls, so a short wait polls, and yields in between,
  // for where ranks share cores the awaited one may need ours. A long wait naps.
  void Pause(Clock::time_point since, Clock::time_point deadline) override {
    constexpr auto kYield = std::chrono::milliseconds(1);
    constexpr auto kNap = std::chrono::microseconds(50);
    const Clock::time_point now = Clock::now();
    if (now - since < kYield) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_until(std::min(now + kNap, deadline));
    }
  }

  std::unique_ptr<Communicator> DoSubgroup(const std::vector<int>& members) override {
    // The split of MPI has no deadline: let nobody enter it before all can.
    Barrier();
    MPI_Comm comm = MPI_COMM_NULL;
    CheckHere(MPI_Comm_split(comm_.get(), members.front(), rank(), &comm), "MPI_Comm_split");
    return std::make_unique<MpiCommunicator>(comm, piece_bytes_, memory_, GroupOf(members));
  }

  void DoAbort(const std::string&, int exit_status) noexcept override { EndJob(exit_status); }

 private:
  MpiRoute RouteOfThis() const { return {comm_.get(), piece_bytes_, group().world_ranks, rank()}; }

  void CheckHere(int code, std::string_view call) const {
    CheckMpi(code, call, [&] { return fmt::format("rank {}", WorldRank(rank())); });
  }

  // The ranks of this group that are those of `some`, by their rank there.
  std::vector<int> RanksOf(MPI_Comm some) const {
    MPI_Group all_group = MPI_GROUP_NULL, some_group = MPI_GROUP_NULL;
    int size = 0;
    CheckHere(MPI_Comm_size(some, &size), "MPI_Comm_size");
    std::vector<int> there(static_cast<size_t>(size)), here(there.size());
    std::iota(there.begin(), there.end(), 0);
    CheckHere(MPI_Comm_group(comm_.get(), &all_group), "MPI_Comm_group");
    CheckHere(MPI_Comm_group(some, &some_group), "MPI_Comm_group");
    CheckHere(MPI_Group_translate_ranks(some_group, size, there.data(), all_group, here.data()),
              "MPI_Group_translate_ranks");
    MPI_Group_free(&all_group);
    MPI_Group_free(&some_group);
    return here;
  }

  MpiWindow& window() const {
    Check(memory_->window != nullptr, "a loan before memory was reserved to be shared");
    return *memory_->window;
  }

  const OwnedComm comm_;
  const int64_t piece_bytes_;
  const std::shared_ptr<MpiMemory> memory_;
};

}  // namespace

std::string MpiErrorText(int code) {
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return fmt::format("error {}", code);
  return {text, static_cast<size_t>(length)};
}

bool MpiAvailable() { return true; }

std::string MpiLibrary() {
  char text[MPI_MAX_LIBRARY_VERSION_STRING] = {};
  int length = 0;
  if (MPI_Get_library_version(text, &length) != MPI_SUCCESS) return "MPI";
  return ShortName({text, static_cast<size_t>(length)});
}

MpiSession::MpiSession()
    : workbench_(std::make_shared<Workbench>()), uncaught_exceptions_(std::uncaught_exceptions()) {
  int provided = 0;
  CheckMpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &provided), "MPI_Init_thread",
           AnyRank);
  if (provided < MPI_THREAD_FUNNELED) {
    ThrowSystemError("{} allows no threads beside the one that calls it", MpiLibrary());
  }
  CheckMpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN), "MPI_Comm_set_errhandler",
           AnyRank);
}

MpiSession::~MpiSession() {
  if (workbench_->failed || std::uncaught_exceptions() > uncaught_exceptions_) return;
  MPI_Finalize();
}

void MpiSession::Abort(int exit_status) const noexcept { EndJob(exit_status); }

std::unique_ptr<Communicator> CreateMpiWorld(const MpiSession& session, const MpiOptions& options) {
  Check(options.piece_bytes >= 1 && options.piece_bytes <= std::numeric_limits<int>::max(),
        "pieces of {} bytes", options.piece_bytes);
  int rank = 0, size = 0;
  CheckMpi(MPI_Comm_rank(MPI_COMM_WORLD, &rank), "MPI_Comm_rank", AnyRank);
  CheckMpi(MPI_Comm_size(MPI_COMM_WORLD, &size), "MPI_Comm_size", AnyRank);
  MPI_Comm comm = MPI_COMM_NULL;  // of our own, that no library's messages meet ours
  CheckMpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup",
           [&] { return fmt::format("rank {}", rank); });
  MessageCommunicator::Group group{rank, {}, options.deadline, session.workbench_};
  for (int member = 0; member < size; ++member) group.world_ranks.push_back(member);
  return std::make_unique<MpiCommunicator>(comm, options.piece_bytes, std::make_shared<MpiMemory>(),
                                           std::move(group));
}

}  // namespace annulus::parallel
