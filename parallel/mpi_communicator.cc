#include "parallel/mpi_communicator.h"

#include <mpi.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <limits>
#include <thread>

#include "kernels/base/error.h"
#include "parallel/message_communicator.h"

namespace annulus::parallel {
namespace {

using Clock = std::chrono::steady_clock;

std::string ErrorText(int code) {
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  if (MPI_Error_string(code, text, &length) != MPI_SUCCESS) return fmt::format("error {}", code);
  return {text, static_cast<size_t>(length)};
}

// `where()` is a text: the rank, and operation and peer if there are any.
template <class Where>
void CheckMpi(int code, std::string_view call, const Where& where) {
  if (code != MPI_SUCCESS) [[unlikely]] {
    ThrowSystemError("{}: {}: {}", where(), call, ErrorText(code));
  }
}

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

bool Unwinding() { return std::uncaught_exceptions() > 0; }

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

// What a set of messages needs to know of its communicator.
struct Route {
  MPI_Comm comm;
  int64_t piece_bytes;
  const std::vector<int>& world_ranks;
  int rank;

  int WorldRank(int of) const { return world_ranks[static_cast<size_t>(of)]; }
  std::string Where(std::string_view what, std::string_view side, int peer) const {
    return fmt::format("rank {}: {} {} rank {}", WorldRank(rank), what, side, WorldRank(peer));
  }
};

class MpiInFlight final : public InFlight {
 public:
  MpiInFlight(const Route& route, std::string_view what) : route_(route), what_(what) {}

  // Requests that are still open belong to a failed rank, which is about to end. The receives are
  // taken back, so that nothing arrives in a buffer that has gone; a send cannot be.
  ~MpiInFlight() override {
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      if (pieces_[i].receives) MPI_Cancel(&requests_[i]);
      MPI_Request_free(&requests_[i]);
    }
  }

  // Receives first, so that what is already on its way finds its buffer.
  void Start(const Messages& messages) {
    for (const Incoming& receive : messages.receives) {
      ForEachPiece(receive.bytes, [&](int64_t begin, int bytes) {
        Add({receive.from, bytes, true});
        CheckMpi(MPI_Irecv(static_cast<char*>(receive.data) + begin, bytes, MPI_BYTE, receive.from,
                           receive.tag, route_.comm, &requests_.back()),
                 "MPI_Irecv", [&] { return Where(pieces_.back()); });
      });
    }
    for (const Outgoing& send : messages.sends) {
      ForEachPiece(send.bytes, [&](int64_t begin, int bytes) {
        Add({send.to, bytes, false});
        CheckMpi(MPI_Isend(static_cast<const char*>(send.data) + begin, bytes, MPI_BYTE, send.to,
                           send.tag, route_.comm, &requests_.back()),
                 "MPI_Isend", [&] { return Where(pieces_.back()); });
      });
    }
    open_ = static_cast<int>(requests_.size());
    indices_.resize(requests_.size());
    statuses_.resize(requests_.size());
  }

  bool Advance() override {
    if (open_ == 0) return true;
    int finished = 0;
    const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &finished,
                                  indices_.data(), statuses_.data());
    if (code != MPI_SUCCESS && code != MPI_ERR_IN_STATUS) {
      CheckMpi(code, "MPI_Testsome",
               [&] { return fmt::format("rank {}: {}", route_.WorldRank(route_.rank), what_); });
    }
    for (int i = 0; i < finished; ++i) {
      const MPI_Status& status = statuses_[static_cast<size_t>(i)];
      const Piece& piece = pieces_[static_cast<size_t>(indices_[static_cast<size_t>(i)])];
      if (code == MPI_ERR_IN_STATUS)
        CheckMpi(status.MPI_ERROR, "MPI_Testsome", [&] { return Where(piece); });
      CheckLength(piece, status);
    }
    open_ -= finished;
    return open_ == 0;
  }

  Missing Pending() const override {
    Missing missing;
    for (size_t i = 0; i < requests_.size(); ++i) {
      if (requests_[i] == MPI_REQUEST_NULL) continue;
      std::vector<int>& side = pieces_[i].receives ? missing.senders : missing.receivers;
      if (side.empty() || side.back() != pieces_[i].peer) side.push_back(pieces_[i].peer);
    }
    return missing;
  }

 private:
  struct Piece {
    int peer;
    int bytes;
    bool receives;
  };

  // Pieces of one message bear one tag: MPI keeps the order of messages between two ranks.
  template <class Body>
  void ForEachPiece(int64_t bytes, const Body& body) {
    int64_t begin = 0;
    do {
      const int64_t piece = std::min(bytes - begin, route_.piece_bytes);
      body(begin, static_cast<int>(piece));
      begin += piece;
    } while (begin < bytes);
  }

  void Add(const Piece& piece) {
    pieces_.push_back(piece);
    requests_.push_back(MPI_REQUEST_NULL);
  }

  std::string Where(const Piece& piece) const {
    return route_.Where(what_, piece.receives ? "from" : "to", piece.peer);
  }

  void CheckLength(const Piece& piece, const MPI_Status& status) const {
    if (!piece.receives) return;
    int bytes = 0;
    CheckMpi(MPI_Get_count(&status, MPI_BYTE, &bytes), "MPI_Get_count",
             [&] { return Where(piece); });
    if (bytes == piece.bytes) return;
    Check(false, "{}: {} bytes came where {} were expected", Where(piece), bytes, piece.bytes);
  }

  const Route route_;
  const std::string_view what_;
  std::vector<MPI_Request> requests_;
  std::vector<Piece> pieces_;  // of requests_
  std::vector<int> indices_;
  std::vector<MPI_Status> statuses_;
  int open_ = 0;
};

class MpiCommunicator final : public MessageCommunicator {
 public:
  MpiCommunicator(MPI_Comm comm, int64_t piece_bytes, Group group)
      : MessageCommunicator(std::move(group)),
        comm_(comm, this->group().workbench),
        piece_bytes_(piece_bytes) {}

  std::string Name() const override { return fmt::format("MPI ({})", MpiLibrary()); }

 protected:
  std::unique_ptr<InFlight> Post(const Messages& messages, std::string_view what) override {
    const Route route{comm_.get(), piece_bytes_, group().world_ranks, rank()};
    auto in_flight = std::make_unique<MpiInFlight>(route, what);
    in_flight->Start(messages);
    return in_flight;
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
    CheckMpi(MPI_Comm_split(comm_.get(), members.front(), rank(), &comm), "MPI_Comm_split",
             [&] { return fmt::format("rank {}", WorldRank(rank())); });
    return std::make_unique<MpiCommunicator>(comm, piece_bytes_, GroupOf(members));
  }

  void DoAbort(const std::string&, int exit_status) noexcept override { EndJob(exit_status); }

 private:
  const OwnedComm comm_;
  const int64_t piece_bytes_;
};

}  // namespace

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
  return std::make_unique<MpiCommunicator>(comm, options.piece_bytes, std::move(group));
}

}  // namespace annulus::parallel
